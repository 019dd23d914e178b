"""tools/visualize_segmentation.py, and what it writes."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmbeitv2.fileio.folders import MARKER
from mmbeitv2.visualization.segmentation import draw_segmentations, paint_labels
from tests.conftest import randomize, refused, run_tool, tiny_vit

# Names that HTML and matplotlib could each take for something else.
CLASSES = ('a </script> & "b" <!--<script>', 'cost $x$', '_c, d')
PALETTE = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
NAMES = ('a/1', 'a/2', 'b/1', 'c/1', 'c/4')  # three images of one name


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work dir as a training leaves it: the config and the last checkpoint; images and labels lie beside it."""
    root = tmp_path_factory.mktemp('run')
    rng = np.random.default_rng(0)
    for folder in ('images/a', 'images/b', 'images/c', 'labels/a', 'labels/b', 'labels/c', 'work'):
        (root / folder).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        size = (32, 32 + 8 * i)
        cv2.imwrite(str(root / f'images/{name}.png'), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        cv2.imwrite(str(root / f'labels/{name}.png'), rng.choice([0, 1, 2, 255], size, p=[0.5, 0.2, 0.2, 0.1]))
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3),
        backbone=tiny_vit(out_indices=(1,), out_type='featmap', final_norm='none', rel_pos_bias='per_layer'),
        decode_head=dict(
            type='FCNHead', in_channels=32, channels=8, num_convs=1, num_classes=3, norm_cfg=dict(type='BN')
        ),
        test_cfg=dict(mode='whole'),
    )
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=CLASSES, palette=PALETTE),
        img_suffix='.png',
        seg_map_suffix='.png',
        pipeline=[
            dict(type='mmbeitv2.LoadImage'),
            dict(type='Resize', scale=(64, 32), keep_ratio=True),
            dict(type='mmbeitv2.LoadSegLabels', num_classes=3),
            dict(type='PackSegInputs'),
        ],
    )
    sampler = dict(type='DefaultSampler', shuffle=False)
    cfg = dict(
        default_scope='mmseg',
        model=model,
        test_dataloader=dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        test_cfg=dict(),
    )
    Config(cfg).dump(root / 'work' / 'tiny.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        built = randomize(MODELS.build(model), std=0.5)
    torch.save({'state_dict': built.state_dict()}, root / 'work' / 'iter_2.pth')
    (root / 'work' / 'last_checkpoint').write_text('/elsewhere/iter_2.pth')  # the work dir was copied
    return root / 'work'


@pytest.fixture(autouse=True)
def _no_former_scope() -> None:
    DefaultScope._instance_dict.clear()


def numbers_of_mmseg(config: Path, checkpoint: Path, folder: Path) -> tuple[dict, list]:
    """Metrics of the config's own test, and the areas that mmseg counted in each image."""
    cfg = Config.fromfile(config)
    cfg.work_dir, cfg.load_from = str(folder), str(checkpoint)
    areas = []

    @METRICS.register_module(force=True)  # upstream mmengine cannot write a config with the class itself
    class RecordingMetric(IoUMetric):
        def compute_metrics(self, results: list) -> dict:
            areas.extend(results)
            return super().compute_metrics(results)

    cfg.test_evaluator = dict(type='RecordingMetric')
    return Runner.from_cfg(cfg).test(), areas


def test_the_report_has_the_numbers_of_mmsegs_own_test(
    work_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'out'
    before = sorted(path.name for path in work_dir.iterdir())
    run_tool('visualize_segmentation', str(work_dir), '--out', str(out), '--num-images', '2')
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {'index.html', 'report.json', MARKER}
    assert sorted(path.name for path in work_dir.iterdir()) == before
    report = json.loads((out / 'report.json').read_text())
    expected, areas = numbers_of_mmseg(work_dir / 'tiny.py', work_dir / 'iter_2.pth', tmp_path / 'oracle')
    assert report['summary'] == pytest.approx(expected, abs=0.01)
    assert f'mIoU {report["summary"]["mIoU"]:.2f}' in printed
    assert CLASSES[0] in printed

    hits, union, _, labeled = (torch.stack(part).sum(0).numpy() for part in zip(*areas, strict=True))
    assert tuple(report['classes']) == CLASSES
    rows = list(report['classes'].values())
    np.testing.assert_allclose([row['IoU'] for row in rows], 100 * hits / union, atol=0.006)
    np.testing.assert_allclose([row['Acc'] for row in rows], 100 * hits / labeled, atol=0.006)
    matrix = np.array(report['confusion'])
    np.testing.assert_array_equal(matrix.diagonal(), hits)
    np.testing.assert_array_equal(matrix.sum(axis=1), labeled)
    mious = [100 * float(np.nanmean((hits / union).numpy())) for hits, union, *_ in areas]
    assert [path.partition('images/')[2] for path, _ in report['images']] == [
        f'{NAMES[i]}.png' for i in np.argsort(mious)
    ]
    np.testing.assert_allclose([miou for _, miou in report['images']], np.sort(mious), atol=0.006)

    page = (out / 'index.html').read_text()
    assert '<script' not in page
    assert not re.search(r'(src|href)="(?!data:)|https?://', page)
    assert '<td>a &lt;/script&gt; &amp; &#34;b&#34; &lt;!--&lt;script&gt;</td>' in page
    pictures = re.findall(r'base64,([^"]+)', page)
    assert len(pictures) == 1 + 2 + 2
    for picture in pictures:
        content = np.frombuffer(base64.b64decode(picture), np.uint8)
        assert cv2.imdecode(content, cv2.IMREAD_COLOR).std() > 1


def test_the_best_checkpoint_comes_before_the_last_and_an_earlier_report_is_replaced(
    work_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    work_dir = shutil.copytree(work_dir, tmp_path / 'work')
    shutil.copy(work_dir / 'iter_2.pth', work_dir / 'best_mIoU_iter_1.pth')
    out = work_dir / 'segmentation'
    for count in ('3', '1'):
        run_tool('visualize_segmentation', str(work_dir), '--num-images', count)
        assert 'best_mIoU_iter_1.pth' in capsys.readouterr().out
        assert (out / 'index.html').read_text().count('data:image/jpeg') == 2 * int(count)
    (out / 'notes.txt').write_text('a diary')
    assert 'notes.txt' in refused(capsys, 'visualize_segmentation', str(work_dir))
    assert (out / 'index.html').exists()


def test_bad_input_to_visualize_segmentation(work_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ['visualize_segmentation', str(work_dir), '--out', str(tmp_path / 'out')]
    dataset = 'test_dataloader.dataset'
    for arguments, message in (
        (['--checkpoint', 'none.pth'], 'none.pth'),
        (['--out', str(work_dir)], 'Choose a new or an empty folder'),
        (['--cfg-options', 'test_dataloader=None'], 'has no test set'),
        (['--cfg-options', f'{dataset}.metainfo=None'], 'does not name its classes'),
        (['--cfg-options', 'model.decode_head.num_classes=4'], 'decode_head'),
    ):
        assert message in refused(capsys, *command, *arguments)
        assert not (tmp_path / 'out').exists()


def test_a_label_map_has_the_colors_of_its_classes_and_white_where_there_is_none() -> None:
    image = np.full((40, 60, 3), 100, dtype=np.uint8)
    labels = np.full((40, 60), 255)
    labels[:, :20], labels[:, 20:40] = 0, 1
    palette = np.array([[200, 0, 0], [0, 200, 0]], dtype=np.uint8)
    painted = paint_labels(image, labels, palette, alpha=0.5)
    assert painted.shape == (40, 60, 3)
    assert [painted[20, x].tolist() for x in (10, 30, 50)] == [[150, 50, 50], [50, 150, 50], [255, 255, 255]]


def test_the_legend_names_the_classes_that_occur() -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    truth, prediction = np.zeros((40, 60), dtype=int), np.full((40, 60), 2)
    truth[:3] = 255
    maps = {'truth': [truth], 'prediction': [prediction]}
    figure = draw_segmentations([image], maps, CLASSES, np.array(PALETTE, dtype=np.uint8))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [CLASSES[0], CLASSES[2]]
    assert [axis.get_title() for axis in figure.axes] == ['image', 'truth', 'prediction']
    figure.canvas.draw()  # a name with $ is no formula
