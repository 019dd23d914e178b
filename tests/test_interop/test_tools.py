"""The command-line tools of mmpretrain and mmsegmentation, run on our configs and on what their runs leave."""

from __future__ import annotations

import json
import pickle
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import ROOT
from tests.test_interop.conftest import Run, process_of_its_own, run_tool

# The tools that draw samples take them from the dataset without a sampler, which would know the epoch.
IS_FIXED = 'train_dataloader.dataset.pipeline.0.is_fixed=True'


def score(run: Run, *options: str) -> None:
    """By the test tool of the library."""
    run_tool(run.library, 'test.py', run.config, run.checkpoint, '--work-dir', str(run.work_dir / 'test'), *options)


def score_by_ours(run: Run, *options: str) -> None:
    with process_of_its_own(
        'tools/test.py', run.config, run.checkpoint, '--work-dir', str(run.work_dir / 'test'), *options
    ):
        runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')


def analyse(run: Run, tool: str, *args: str) -> None:
    run_tool(run.library, f'analysis_tools/{tool}', *args)


def predictions(path: Path) -> dict[str, np.ndarray]:
    return {Path(sample['img_path']).stem: sample['pred_score'].numpy() for sample in pickle.loads(path.read_bytes())}


def label_maps(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in folder.glob('*.png')}


@pytest.mark.parametrize('options', [[], ['--tta']], ids=['plain', 'tta'])
def test_a_classifier_scores_the_same_by_our_tool_and_mmpretrains(
    classifier: Run, tmp_path: Path, options: list[str]
) -> None:
    for tool, name in ((score, 'theirs'), (score_by_ours, 'ours')):
        tool(classifier, *options, '--out', str(tmp_path / f'{name}.pkl'))
        item = ['--out-item', 'metrics'] if tool is score else []
        tool(classifier, *options, '--out', str(tmp_path / f'{name}.json'), *item)
    theirs, ours = (predictions(tmp_path / f'{name}.pkl') for name in ('theirs', 'ours'))
    assert theirs.keys() == ours.keys() == set('01234567')
    for image, scores in ours.items():
        np.testing.assert_allclose(scores, theirs[image], rtol=1e-6)
    theirs, ours = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('theirs', 'ours'))
    assert theirs == ours
    assert 'accuracy/top1' in ours
    if not options:
        score_by_ours(classifier, '--show-dir', str(tmp_path / 'pictures'))
        assert len(list((tmp_path / 'pictures').rglob('*.jpg*'))) == 8


@pytest.mark.parametrize('options', [[], ['--tta']], ids=['plain', 'tta'])
def test_a_segmentor_predicts_the_same_by_our_tool_and_mmsegs(
    segmentor: Run, tmp_path: Path, options: list[str]
) -> None:
    for tool, name in ((score, 'theirs'), (score_by_ours, 'ours')):
        tool(segmentor, *options, '--out', str(tmp_path / name), '--show-dir', str(tmp_path / f'{name}_pictures'))
        assert len(list((tmp_path / f'{name}_pictures').rglob('*.png'))) == 4
    theirs, ours = label_maps(tmp_path / 'theirs'), label_maps(tmp_path / 'ours')
    assert theirs.keys() == ours.keys() == {f'{i}.png' for i in range(4)}
    for name, labels in ours.items():
        assert labels.shape == (40, 48)
        np.testing.assert_array_equal(labels, theirs[name])


@pytest.mark.parametrize('name', ['classifier', 'segmentor'])
def test_tensorboard_holds_the_curve_of_the_log(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    logged = [json.loads(line) for line in Path(run.log).read_text().splitlines()]
    (events,) = run.work_dir.glob('*/vis_data/events.*')
    curve = EventAccumulator(str(events)).Reload().Scalars('loss')
    assert [point.value for point in curve] == pytest.approx([line['loss'] for line in logged if 'loss' in line])


def test_mmpretrains_analysis_tools_read_our_logs_and_results(
    classifier: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / 'results.pkl'
    score(classifier, '--out', str(results))
    analyse(classifier, 'analyze_logs.py', 'plot_curve', classifier.log, '--keys', 'loss', '--out', f'{tmp_path}/c.png')
    analyse(classifier, 'analyze_logs.py', 'cal_train_time', classifier.log)
    assert 'average iter time' in capsys.readouterr().out
    analyse(classifier, 'eval_metric.py', str(results), '--metric', 'type=Accuracy', 'topk=1')
    assert 'accuracy/top1' in capsys.readouterr().out
    analyse(classifier, 'analyze_results.py', classifier.config, str(results), '--out-dir', str(tmp_path / 'pictures'))
    matrix = tmp_path / 'matrix.pkl'
    analyse(classifier, 'confusion_matrix.py', classifier.config, str(results), '--out', str(matrix))
    assert pickle.loads(matrix.read_bytes()).sum() == 8
    analyse(classifier, 'get_flops.py', classifier.config, '--shape', '32')
    assert 'Params' in capsys.readouterr().out
    assert (tmp_path / 'c.png').stat().st_size > 0
    assert len(list((tmp_path / 'pictures').rglob('*.png'))) == 8


def test_mmpretrains_visualization_tools_read_our_configs(classifier: Run, tmp_path: Path) -> None:
    config, pictures = classifier.config, tmp_path / 'pictures'
    browse = ['--not-show', '-o', str(pictures), '-m', 'original', '--cfg-options', IS_FIXED]
    run_tool('mmpretrain', 'visualization/browse_dataset.py', config, *browse)
    assert len(list(pictures.iterdir())) == 8
    scheduler = ['-p', 'lr', '-s', str(tmp_path / 'lr.jpg'), '--not-show', '-d', '8', '-n', '1']
    run_tool('mmpretrain', 'visualization/vis_scheduler.py', config, *scheduler)
    assert (tmp_path / 'lr.jpg').stat().st_size > 0


def test_wandb_keeps_the_curve_of_a_run_offline(classifier: Run, tmp_path: Path) -> None:
    wandb = pytest.importorskip('wandb', reason='wandb is not installed')
    backend = dict(type='WandbVisBackend', init_kwargs=dict(mode='offline', project='tiny'))
    config = tmp_path / 'tiny.py'
    config.write_text(f'_base_ = {classifier.config!r}\nvisualizer = dict(vis_backends=[{backend}])\n')
    run_tool('mmpretrain', 'train.py', str(config), '--work-dir', str(tmp_path / 'work'))
    wandb.finish()
    assert list((tmp_path / 'work').rglob('*.wandb'))
