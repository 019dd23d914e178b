"""configs/segmentation/own_dataset.py from the command line, on images drawn here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models import EncoderDecoder
from PIL import Image

from tests.conftest import ROOT, refused, run_tool
from tests.test_docs.tiny import Weights, shrink

# What is small in it beside the sizes; the rest is the config as it is, SyncBN included.
CHANGES = {
    'optim_wrapper.optimizer.lr': 1e-3,
    'train_cfg': dict(max_iters=6, val_interval=6),
    'train_dataloader': dict(batch_size=2, num_workers=1),
    'default_hooks.checkpoint.save_best': None,
    'randomness.seed': 4,
}


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """A person's folders: photos of two sizes, palette PNGs, three classes of which 9 means "unknown"; a list each."""
    rng = np.random.default_rng(0)
    data = tmp_path / "Bob's data"
    for folder in ('photos', 'masks'):
        (data / folder).mkdir(parents=True)
    for i in range(7):
        labels = rng.choice([0, 1, 2, 9], (5, 6 + i % 2)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        pixels = 25 * labels[..., None].astype(int) + rng.integers(0, 40, (*labels.shape, 3))
        Image.fromarray(np.uint8(pixels.clip(max=255))).save(data / 'photos' / f'{i}.jpg')
        label = Image.fromarray(labels)
        label.putpalette([37 * j % 256 for j in range(768)])
        label.save(data / 'masks' / f'{i}.png')
    (data / 'classes.txt').write_text('sky\nroad\ncar\n')
    (data / 'train.txt').write_text('0\n1\n2\n3.jpg\n4\n')
    (data / 'val.txt').write_text('5\n6\n')
    cfg = Config.fromfile(ROOT / 'configs/segmentation/own_dataset.py')
    cfg.model.backbone.init_cfg = None
    shrink(cfg, Weights(tmp_path)).merge_from_dict(CHANGES)
    for split, names in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        cfg[f'{split}_dataloader'].dataset.update(
            data_prefix=dict(img_path='photos', seg_map_path='masks'), ann_file=f'{names}.txt', ignored_labels=[9]
        )
    config = tmp_path / 'tiny.py'
    cfg.dump(config)
    roots = [f'{split}_dataloader.dataset.data_root={data}' for split in ('train', 'val', 'test')]
    return [str(config), '--cfg-options', *roots, *number_of_classes(3)]


def number_of_classes(number: int) -> list[str]:
    return [f'model.{head}.num_classes={number}' for head in ('decode_head', 'auxiliary_head')]


def test_own_images_are_trained_on_scored_and_resumed_bit_for_bit(
    tmp_path: Path, own: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With drop path, dropout and a worker that had loaded ahead, killed in the fourth step, after two checkpoints."""
    config, *options = own
    work = tmp_path / 'work'
    run_tool('train', config, '--work-dir', str(work), *options)
    said = capsys.readouterr().out
    assert 'train images  5 in 3 classes' in said
    assert '|  road |' in said  # mmseg's table
    checkpoint = str(work / 'iter_6.pth')
    scoring = ['test', config, checkpoint, '--work-dir', str(tmp_path / 'test')]
    for more in ([], ['--tta']):
        out = tmp_path / f'metrics{len(more)}.json'
        run_tool(*scoring, '--out', str(out), *more, *options)
        assert 0 <= json.loads(out.read_text())['mIoU'] <= 100

    loss, steps = EncoderDecoder.loss, []

    def fail_in_the_fourth_step(self: EncoderDecoder, *args: object) -> dict:
        steps.append(1)
        if len(steps) == 4:
            raise RuntimeError('killed')
        return loss(self, *args)

    monkeypatch.setattr(EncoderDecoder, 'loss', fail_in_the_fourth_step)
    again = ['train', config, '--work-dir', str(tmp_path / 'killed'), *options]
    with pytest.raises((SystemExit, RuntimeError)):
        run_tool(*again)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / 'killed').glob('*.pth')) == ['iter_2.pth']
    run_tool(*again, '--resume')
    alone, resumed = (torch.load(folder / 'iter_6.pth', weights_only=False) for folder in (work, tmp_path / 'killed'))
    torch.testing.assert_close(resumed['state_dict'], alone['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer']['state'], alone['optimizer']['state'], rtol=0, atol=0)

    # With one more class, the checkpoint fits neither to be scored nor to start from.
    capsys.readouterr()
    with (tmp_path / "Bob's data" / 'classes.txt').open('a') as stream:
        stream.write('bike\n')
    options += number_of_classes(4)
    words = 'decode_head.conv_seg.weight has shape (3, 8, 1, 1) in the file and (4, 8, 1, 1) in the model'
    assert words in refused(capsys, *scoring, *options)
    start = [*options, f'load_from={checkpoint}']
    assert words in refused(capsys, 'train', config, '--work-dir', str(tmp_path / 'second'), *start)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('train_dataloader.dataset.data_root=nowhere', "class list 'nowhere/classes.txt' not found. Correct its path."),
        ('model.decode_head.num_classes=5', 'Pass --cfg-options model.decode_head.num_classes=3, or correct the'),
        ('train_dataloader.dataset.ignored_labels=[]', 'or name the value in ignored_labels'),
        ('data_root=x', "the setting 'data_root' does not exist. Did you mean 'test_dataloader.dataset.data_root' or"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named_before_the_run(
    own: list[str], capsys: pytest.CaptureFixture, change: str, message: str
) -> None:
    assert message in refused(capsys, 'train', *own, change, '--check')


def test_the_options_that_the_refusal_of_a_number_of_classes_names_are_all_that_is_missing(
    own: list[str], capsys: pytest.CaptureFixture
) -> None:
    said = refused(capsys, 'train', *own, *number_of_classes(2), '--check')
    options = re.search(r'Pass (--cfg-options .*?), or', said)
    assert options is not None, said
    run_tool('train', *own, *number_of_classes(2), *options[1].split(), '--check')
    assert 'train images  5 in 3 classes' in capsys.readouterr().out
