from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from mmbeitv2_tools.evidence.page import at_seconds, value, verdict, write_page
from mmbeitv2_tools.evidence.readings import build_backbone
from mmbeitv2_tools.evidence.running import open_jobs, run_study, start
from mmbeitv2_tools.evidence.study import CONFIGS, Job, Study
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from scipy.stats import ttest_1samp

from mmbeitv2.inference.config import walk_settings
from mmbeitv2.registry import MODELS
from tests.conftest import refused, run_tool
from tests.test_docs.forks import run_bash, run_program


@pytest.fixture(scope='module')
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('teacher') / 'mobilenetv2_100.pth'
    torch.save(timm.create_model('mobilenetv2_100').state_dict(), path)
    return str(path)


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cifar10 and camvid."""
    root, rng = tmp_path_factory.mktemp('data'), np.random.default_rng(0)
    for split, count in (('train', 20), ('val', 5)):
        for i in range(10):
            folder = root / 'cifar10' / split / f'class{i}'
            folder.mkdir(parents=True)
            for j in range(count):
                cv2.imwrite(str(folder / f'{j:02}.png'), np.uint8(25 * i + rng.integers(0, 25, (32, 32, 3))))
    for split in ('training', 'validation', 'test'):
        for kind in ('images', 'annotations'):
            (root / 'camvid' / kind / split).mkdir(parents=True)
        labels = np.repeat(np.arange(12, dtype=np.uint8), 30)[:, None].repeat(480, axis=1)  # 11 classes and void
        cv2.imwrite(str(root / f'camvid/annotations/{split}/a.png'), labels)
        cv2.imwrite(str(root / f'camvid/images/{split}/a.png'), np.stack([labels * 20] * 3, axis=2))
    return root


@pytest.fixture
def data(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/cifar10 and data/camvid, in which the test runs."""
    (tmp_path / 'data').symlink_to(images)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study_of(folder: Path, teacher: str | None = None, preset: str = 'cpu') -> Study:
    return Study(CONFIGS / f'{preset}.py', folder / 'runs', folder / 'records', teacher)


def start_and_kill(study: Study, job: Job) -> None:
    """So that only what comes before the process is done."""
    process = start(study, job, 1)
    process.kill()
    process.wait()


FINETUNING_LRS = (0.001, 0.004, 0.016)  # of which the last is tried because the second is better than the first


def choose_rates(study: Study, name: str, held_out: tuple[float, ...] = (10.0, 20.0, 10.0)) -> None:
    """Records scores of the learning rates of a row, and of its fine-tuning, of which the second is the best."""
    for lr, score in zip(study.cfg.lrs, held_out, strict=True):
        study.records[f'{name}/lr_{lr:g}/frozen'] = dict(result=dict(images=dict(mean=dict(held_out=score))))
    for lr, score in zip(FINETUNING_LRS, (40.0, 50.0, 45.0), strict=True):
        study.records[f'{name}/finetune_lr_{lr:g}'] = dict(result=dict(top1=score))


def distinct_jobs(preset: str) -> Iterator[tuple[str, Job]]:
    """The jobs that train, as if each learning rate had been tried, one of those that differ in numbers only."""
    study = study_of(Path('nowhere'), preset=preset)
    for name in study.rows:
        choose_rates(study, name)
    jobs = list(study.jobs())
    assert {job.row for job in jobs} == {*study.rows, 'tokenizers'}
    seen = set()
    for job in jobs:
        # The settings of the study for a GPU differ from the other's by config.
        parts = {key: job.options.get(key, {}) for key in ('model', 'train_dataloader') if preset == 'cpu'}
        settings = walk_settings(parts) if job.checkpoint else ()
        words = {(key, value) if isinstance(value, str) else key for key, value in settings if 'init_cfg' not in key}
        if job.checkpoint and (job.config, frozenset(words)) not in seen:
            seen.add((job.config, frozenset(words)))
            yield preset, job


def name_of(argument: str | Job) -> str:
    return argument.name if isinstance(argument, Job) else argument


@pytest.mark.parametrize(('preset', 'job'), [*distinct_jobs('cpu'), *distinct_jobs('gpu')], ids=name_of)
def test_the_model_of_each_job_trains(preset: str, job: Job, data: Path, teacher: str) -> None:
    study = study_of(data, teacher, preset)
    cfg = study.config(job)
    init_default_scope(cfg.default_scope)
    for part in (cfg.model, cfg.model.get('backbone', {}), cfg.model.get('tokenizer', {})):
        part.pop('init_cfg', None)  # its weights are those of another job
    loader = cfg.train_dataloader
    # A tokenizer's first batch has at least as many patches as codes.
    loader.update(batch_size=15 if job.row == 'tokenizers' else 2, num_workers=0, persistent_workers=False)
    model = MODELS.build(cfg.model)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    assert total.requires_grad or job.config == 'tokenizer_kmeans'


@pytest.mark.parametrize('preset', ['cpu', 'gpu'])
@pytest.mark.parametrize('row', ['beitv2', 'vqkd', 'mae', 'simmim', 'supervised', 'timm'])
def test_a_reading_takes_the_weights_and_sees_images_as_the_pretraining_did(
    preset: str, row: str, data: Path, teacher: str
) -> None:
    study = study_of(data, teacher, preset)
    choose_rates(study, row)
    choose_rates(study, 'beitv2')
    jobs = {job.name: job for job in study.jobs()}
    reading = jobs[f'{row}/{study.main_run(row)}/frozen']
    (pretraining,) = [job for job in jobs.values() if job.checkpoint and study.file(job) in reading.needs]
    cfg = study.config(pretraining)
    init_default_scope(cfg.default_scope)
    cfg.model.get('tokenizer', {}).pop('init_cfg', None)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    model.init_weights()
    study.file(pretraining).parent.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict(), meta={}), study.file(pretraining))
    read_cfg = study.config(reading)
    encoder = model.encoder if row == 'vqkd' else model.backbone
    read = dict(build_backbone(read_cfg).named_parameters())
    weights = {name: weight for name, weight in encoder.named_parameters() if name in read}
    assert len(weights) > 0.9 * len(read)
    for name, weight in weights.items():
        torch.testing.assert_close(read[name].cpu(), weight)
    batch = dict(inputs=torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8), data_samples=None)
    seen = [
        preprocessor(dict(batch), training=False)['inputs']
        for preprocessor in (model.data_preprocessor, MODELS.build(read_cfg.model.data_preprocessor))
    ]
    torch.testing.assert_close(*seen)


@pytest.mark.skipif(torch.cuda.is_available(), reason='autograd does not work in forks where it has threads for GPUs')
def test_a_study_runs_once_and_writes_its_page(data: Path, teacher: str) -> None:
    def small_study() -> Study:
        study = study_of(data, teacher)
        study.cfg.merge_from_dict(dict(steps=4, sweep_share=0.5, lrs=(1e-3,), bank_step=1))
        return study

    def program(argv: list[str]) -> None:
        if argv != ['study']:
            run_program(argv)
        elif failed := run_study(small_study(), ['mae/lr_', 'teacher'], 2, 10):
            sys.exit((data / 'runs' / failed[0] / 'log.txt').read_text()[-2000:])

    exit_code, output = run_bash('python study', data, program=program)
    assert exit_code == 0, output
    study = small_study()
    records = json.loads((data / 'records/mae.json').read_text())
    tried = ('0.000333333', '0.001', '0.003')  # a rate that is the lowest and the highest has two more tried
    assert sorted(records) == [f'mae/lr_{lr}/{job}' for lr in tried for job in ('frozen', 'pretrain')]
    assert records['mae/lr_0.001/pretrain']['options']['optim_wrapper']['optimizer']['lr'] == 1e-3
    (job,) = [job for job in study.jobs() if job.name == 'mae/lr_0.001/pretrain']
    start_and_kill(study, job)
    assert (data / 'runs/mae/lr_0.001/pretrain/iter_2.pth').exists()  # from which it would continue
    # The classes differ in brightness, which the teacher sees, and random features too; the rows of the labels as well.
    teachers = json.loads((data / 'records/teacher.json').read_text())['teacher/seed_0/frozen']['result']
    assert teachers['images']['mean']['linear'] > 50
    assert teachers['camvid_linear'] > 20
    before = (data / 'records/teacher.json').stat().st_mtime_ns
    assert run_study(study_of(data, teacher), ['teacher'], 1, 1) == []
    assert (data / 'records/teacher.json').stat().st_mtime_ns == before

    page = data / 'evidence.md'
    study.records['scratch/seed_0/segment'] = dict(result=dict(mIoU=30.0))  # without its other readings
    page.write_text('before\n<!-- evidence cpu: begin -->\nold\n<!-- evidence cpu: end -->\nafter\n')
    write_page(study, data, 'cpu')
    text = page.read_text()
    assert text.startswith('before\n')
    assert text.endswith('after\n')
    assert 'old' not in text
    assert re.search(r'; 1 of \d+ runs are complete\.', text)
    assert '| the teacher |' in text
    assert re.search(r'\| from scratch \|.*\| 30\.0 \|', text)
    assert '| MAE (mmpretrain) |' not in text  # its learning rate is not chosen
    assert (data / 'images/evidence_cpu.png').exists()


def test_jobs_run_in_the_order_asked_for_and_recorded_ones_only_if_an_open_one_needs_their_file(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    for name in ('mae/lr_0.0005/pretrain', 'mae/lr_0.0005/frozen', 'mae/lr_0.0015/pretrain', 'tokenizers/vqkd'):
        study.records[name] = dict(result={})  # on another machine: the work dir is empty
    names = [job.name for job in open_jobs(study, ['teacher', 'mae/lr_0.0005', 'mae/lr_0.0015'], set())]
    assert names == ['teacher/seed_0/frozen', 'mae/lr_0.0015/pretrain']
    assert [job.name for job in open_jobs(study, ['beitv2/lr_0.0005'], set())] == ['tokenizers/vqkd']


def test_records_of_other_settings_are_forgotten_with_what_needs_their_files(tmp_path: Path) -> None:
    jobs = {job.name: job for job in study_of(tmp_path).jobs() if job.row == 'mae'}
    records = {name: dict(options=job.options, result={}) for name, job in jobs.items() if '0.0045' not in name}
    other = json.loads(json.dumps(records))
    other['mae/lr_0.0005/pretrain']['options']['randomness']['seed'] = 1
    (tmp_path / 'records').mkdir()
    for content, missing in ((records, set()), (other, {'mae/lr_0.0005/pretrain', 'mae/lr_0.0005/frozen'})):
        (tmp_path / 'records/mae.json').write_text(json.dumps(content, default=str))
        study = Study(CONFIGS / 'cpu.py', tmp_path / 'elsewhere', tmp_path / 'records')
        assert study.records.keys() == records.keys() - missing


def test_a_run_whose_config_has_changed_starts_anew(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    (job,) = [job for job in study.jobs() if job.name == 'teacher/seed_0/frozen']
    for text, remains in ((study.config(job).pretty_text, True), ('other = 1', False)):
        folder = study.work / job.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'config.py').write_text(text)
        (folder / 'last_checkpoint').write_text('iter_250.pth')
        start_and_kill(study, job)
        assert (folder / 'last_checkpoint').exists() == remains


@pytest.mark.parametrize(
    ('name', 'log', 'remains'),
    [
        ('scratch/finetune_lr_0.001', '{"iter": 250, "processor_time": 0.1}', False),
        ('scratch/finetune_lr_0.001', '{"accuracy/top1": 50.0}', True),
        ('tokenizers/vqkd', '{"iter": 1000, "processor_time": 0.1}', True),  # which has no validation
    ],
)
def test_a_run_that_was_stopped_before_its_validation_starts_anew(
    name: str, log: str, remains: bool, tmp_path: Path
) -> None:
    study = study_of(tmp_path)
    job = next(job for job in study.jobs() if job.name == name)
    folder = study.work / name
    (folder / 'run/vis_data').mkdir(parents=True)
    (folder / 'run/vis_data/scalars.json').write_text(log)
    (folder / 'config.py').write_text(study.config(job).pretty_text)
    study.file(job).touch()
    start_and_kill(study, job)
    assert study.file(job).exists() == remains


def test_a_row_runs_for_all_steps_with_all_readings_and_for_each_seed_with_a_few(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    choose_rates(study, 'beitv2')
    jobs = {job.name: job for job in study.jobs()}
    finetunings = ['finetune_1', 'finetune_10', 'finetune_100']
    readings = {key: run.readings for key, run in study.runs('beitv2').items()}
    seeds = ['half_0.0015', 'seed_1', 'seed_2']
    assert readings == {**{key: ['finetune_10'] for key in seeds}, 'full': [*finetunings, 'segment']}
    for key, share in (('full', 1), ('seed_2', 0.5)):
        pretraining = jobs[f'beitv2/{key}/pretrain'].options
        assert pretraining['train_cfg']['max_iters'] == study.cfg.steps * share
        assert pretraining['optim_wrapper']['optimizer']['lr'] == study.cfg.lrs[1]
        assert jobs[f'beitv2/{key}/frozen'].dense
        finetuning = jobs[f'beitv2/{key}/finetune_10'].options
        assert finetuning['optim_wrapper']['optimizer']['lr'] == FINETUNING_LRS[1]
        assert finetuning['randomness']['seed'] == pretraining['randomness']['seed'] == (2 if key == 'seed_2' else 0)
    assert f'beitv2/finetune_lr_{FINETUNING_LRS[2]:g}' in jobs
    variant = [name for name in jobs if name.startswith('layer2/')]
    assert variant == ['layer2/seed_0/pretrain', 'layer2/seed_0/frozen']


@pytest.mark.parametrize(
    ('held_out', 'more'),
    [((10, 20, 30), [3 * 4.5e-3]), ((30, 20, 10), [0.0005 / 3]), ((10, 20, 18.5), [3 * 4.5e-3]), ((10, 20, 10), [])],
)
def test_a_best_learning_rate_at_the_edge_has_one_more_tried(held_out: tuple, more: list, tmp_path: Path) -> None:
    study = study_of(tmp_path)
    choose_rates(study, 'mae', held_out)
    assert {*study.pretraining_lrs('mae')} == {*study.cfg.lrs, *more}
    assert study.pretraining_lr('mae') == (None if more else study.cfg.lrs[1])


def test_learning_rates_near_the_best_are_tried_again_for_longer(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    choose_rates(study, 'beitv2', (10, 20, 18.5))
    study.records['beitv2/lr_0.0135/frozen'] = dict(result=dict(images=dict(mean=dict(held_out=10))))
    assert [job.name for job in study.jobs() if job.name.startswith(('beitv2/half_', 'beitv2/seed_'))] == [
        f'beitv2/half_{lr}/{job}' for lr in (0.0015, 0.0045) for job in ('pretrain', 'frozen')
    ]
    study.records['beitv2/seed_1/frozen'] = dict(result=dict(images=dict(mean=dict(held_out=1, linear=50.0))))
    assert value(study, 'beitv2', 'seed_1', 'linear') is None  # its learning rate may change
    for lr, score in ((0.0015, 30), (0.0045, 31)):
        study.records[f'beitv2/half_{lr}/frozen'] = dict(result=dict(images=dict(mean=dict(held_out=score))))
    assert study.pretraining_lr('beitv2') == 0.0045
    assert value(study, 'beitv2', 'seed_1', 'linear') == 50
    assert [*study.runs('beitv2')] == ['half_0.0045', 'seed_1', 'seed_2', 'full']


def test_the_jobs_are_listed(data: Path, capsys: pytest.CaptureFixture) -> None:
    run_tool('evidence', '--list', '--docs', str(data))
    assert 'open  scratch/seed_0/frozen\n' in capsys.readouterr().out


@pytest.mark.parametrize('text', ['{"mae/', '[1]', '{"mae/lr_0.0005/pretrain": 3}'])
def test_a_damaged_record_is_named(text: str, data: Path, capsys: pytest.CaptureFixture) -> None:
    (data / 'evidence/cpu').mkdir(parents=True)
    (data / 'evidence/cpu/mae.json').write_text(text)
    assert "mae.json' is no file of records" in refused(capsys, 'evidence', '--list', '--docs', str(data))


def test_a_page_without_marks_and_unknown_jobs_are_refused(data: Path, capsys: pytest.CaptureFixture) -> None:
    (data / 'evidence.md').write_text('<!-- evidence gpu: begin -->\n<!-- evidence gpu: end -->\n')
    assert "has no lines '<!-- evidence cpu: begin -->'" in refused(capsys, 'evidence', '--docs', str(data))
    assert '--only beit3: no row begins like this' in refused(capsys, 'evidence', '--only', 'scratch', 'beit3')
    options = ('--only', 'mae/half', '--docs', str(data))  # before its learning rate is known
    assert '--only mae/half: no job that is known begins like this' in refused(capsys, 'evidence', *options)
    assert not (data / 'work_dirs').exists()


@pytest.mark.parametrize(
    ('margins', 'word'),
    [
        ([1.0, 1.1, 1.5], 'shown'),
        ([-1.0, -1.1, -1.5], 'turned round'),
        ([1.0, 2.0, 3.0], 'not shown'),
        ([1.0, 1.0, 1.0], 'shown'),
        ([0.0, 0.0, 0.0], 'not shown'),
        ([3.0], 'open'),
    ],
)
def test_a_claim_is_shown_by_a_t_test(margins: list[float], word: str) -> None:
    assert verdict(margins) == word
    if len({*margins}) > 1:
        assert (ttest_1samp(margins, 0).pvalue < 0.05) == (word != 'not shown')


@pytest.mark.parametrize(('seconds', 'text'), [(150.0, '45.0'), (400.0, '55.0 (300 s)'), (50.0, '-'), (None, '-')])
def test_scores_at_equal_seconds_are_interpolated_and_those_of_shorter_runs_kept(
    seconds: float | None, text: str
) -> None:
    assert at_seconds([(0.25, 100.0, 40.0), (0.5, 200.0, 50.0), (1.0, 300.0, 55.0)], seconds) == text
