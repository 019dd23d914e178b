"""configs/segmentation/own_dataset.py from the command line, on images drawn here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmseg.models import EncoderDecoder
from PIL import Image

from tests.conftest import ROOT, refused, run_tool
from tests.forked import train_by_two

# What makes it small; the rest is the config as it is, SyncBN included.
TINY = """
_base_ = {base!r}
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depth=4, num_heads=2),
        img_size=32, patch_size=8, out_indices=(0, 1, 2, 3), init_cfg=None,
    ),
    neck=dict(embed_dim=32),
    decode_head=dict(in_channels=[32] * 4, channels=8),
    auxiliary_head=dict(in_channels=32, channels=8),
    test_cfg=dict(crop_size=(32, 32), stride=(21, 21)),
)
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[3].update(scale=(2048, 32))
train_pipeline[4].update(crop_size=(32, 32))
test_pipeline[1].update(scale=(2048, 32))
tta_pipeline[1]['transforms'][0] = [dict(type='Resize', scale=(2048, x), keep_ratio=True) for x in (32, 48)]
train_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=0, end=6)]
train_cfg = dict(max_iters=6, val_interval=6)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2, save_best=None))
randomness = dict(seed=4)
"""


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """A person's folders: photos of two sizes, palette PNGs, three classes of which 9 means "unknown"; a list each."""
    rng = np.random.default_rng(0)
    (tmp_path / 'data' / 'photos').mkdir(parents=True)
    (tmp_path / 'data' / 'masks').mkdir()
    for i in range(7):
        labels = rng.choice([0, 1, 2, 9], (5, 6 + i % 2)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        pixels = 25 * labels[..., None].astype(int) + rng.integers(0, 40, (*labels.shape, 3))
        Image.fromarray(np.uint8(pixels.clip(max=255))).save(tmp_path / 'data' / 'photos' / f'{i}.jpg')
        label = Image.fromarray(labels)
        label.putpalette([37 * j % 256 for j in range(768)])
        label.save(tmp_path / 'data' / 'masks' / f'{i}.png')
    (tmp_path / 'data' / 'classes.txt').write_text('sky\nroad\ncar\n')
    (tmp_path / 'data' / 'train.txt').write_text('0\n1\n2\n3.jpg\n4\n')
    (tmp_path / 'data' / 'val.txt').write_text('5\n6\n')
    config = tmp_path / 'tiny.py'
    config.write_text(TINY.format(base=str(ROOT / 'configs' / 'segmentation' / 'own_dataset.py')))
    settings = dict(
        data_root=tmp_path / 'data',
        images='photos',
        labels='masks',
        train='train.txt',
        val='val.txt',
        ignored_labels=[9],
    )
    return [str(config), '--cfg-options', *(f'{key}={value}' for key, value in settings.items())]


def test_own_images_are_trained_on_and_scored_with_their_own_class_names(
    tmp_path: Path, own: list[str], capsys: pytest.CaptureFixture
) -> None:
    config, *options = own
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'), *options)
    said = capsys.readouterr().out
    assert 'Data: 5 images of 3 classes' in said
    assert '|  road |' in said  # mmseg's table
    assert 'data_root' not in os.environ
    written = (tmp_path / 'work' / 'tiny.py').read_text()
    assert "'car'" in written
    assert str(tmp_path / 'data') in written
    for more in ([], ['--tta']):
        out = tmp_path / f'metrics{len(more)}.json'
        checkpoint = str(tmp_path / 'work' / 'iter_6.pth')
        run_tool('test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), '--out', str(out), *more, *options)
        assert 0 <= json.loads(out.read_text())['mIoU'] <= 100
    # With one more class, the checkpoint fits neither to be scored nor to start from.
    with (tmp_path / 'data' / 'classes.txt').open('a') as stream:
        stream.write('bike\n')
    words = 'because the file was trained on 3 classes and the config has 4'
    assert words in refused(capsys, 'test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), *options)
    start = [*options, f'load_from={checkpoint}']
    assert words in refused(capsys, 'train', config, '--work-dir', str(tmp_path / 'second'), *start)


def test_a_run_that_ends_between_two_checkpoints_and_is_resumed_gives_the_same_weights(
    tmp_path: Path, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, with drop path, dropout and a worker that had loaded ahead."""
    config, *options = own
    options = [*options, 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None']
    run_tool('train', config, '--work-dir', str(tmp_path / 'alone'), *options)
    loss, steps = EncoderDecoder.loss, []

    def fail_in_the_fourth_step(self: EncoderDecoder, *args: object) -> dict:
        steps.append(1)
        if len(steps) == 4:
            raise RuntimeError('killed')
        return loss(self, *args)

    monkeypatch.setattr(EncoderDecoder, 'loss', fail_in_the_fourth_step)
    with pytest.raises(SystemExit):
        run_tool('train', config, '--work-dir', str(tmp_path / 'killed'), *options)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / 'killed').glob('*.pth')) == ['iter_2.pth']
    run_tool('train', config, '--work-dir', str(tmp_path / 'killed'), '--resume', *options)
    alone, resumed = (torch.load(tmp_path / name / 'iter_6.pth', weights_only=False) for name in ('alone', 'killed'))
    for key, value in alone['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
    for index, state in alone['optimizer']['state'].items():
        assert all(torch.equal(state[key], resumed['optimizer']['state'][index][key]) for key in state), index


def test_what_is_wrong_with_the_settings_is_named(own: list[str], capsys: pytest.CaptureFixture) -> None:
    def said(*changes: str) -> str:
        return refused(capsys, 'train', *own, *changes, '--check')

    assert "class list 'nowhere/classes.txt' not found. Correct its path." in said('data_root=nowhere')
    assert "image folder '" in said('images=pictures')
    assert "pictures' not found" in said('images=pictures')
    assert "image list '" in said('val=test.txt')
    assert 'has the label 9, but there are 3 classes' in said('ignored_labels=[]')
    assert "the setting 'imagess' does not exist" in said('imagess=x')


def test_two_processes_train_as_one(tmp_path: Path, own: list[str]) -> None:
    """Batch norm and what is drawn at random apart: two processes of one image, and one of two."""
    config, *options = own
    with Path(config).open('a') as stream:
        stream.write("""
norm_cfg = dict(_delete_=True, type='GN', num_groups=2)
model['backbone']['drop_path_rate'] = 0.0
for part in ('neck', 'decode_head', 'auxiliary_head'):
    model[part]['norm_cfg'] = norm_cfg
    if part != 'neck':
        model[part]['dropout_ratio'] = 0.0
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
""")
    options += [
        'val_dataloader=None',
        'val_cfg=None',
        'val_evaluator=None',
        'train_cfg.max_iters=3',
        'param_scheduler=[]',
    ]
    options += ['default_hooks.checkpoint.interval=3']
    run_tool('train', config, '--work-dir', str(tmp_path / 'one'), *options)
    two = [*options, 'train_dataloader.batch_size=1']
    train_by_two(config, tmp_path / 'two', *two)
    one, two = (torch.load(tmp_path / name / 'iter_3.pth', weights_only=False)['state_dict'] for name in ('one', 'two'))
    start = MODELS.build(Config.fromfile(str(tmp_path / 'one' / 'tiny.py')).model).state_dict()
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.allclose(value, two[key], rtol=1e-4, atol=1e-6), key
    assert not torch.equal(one['decode_head.conv_seg.weight'], start['decode_head.conv_seg.weight'])
