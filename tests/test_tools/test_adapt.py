"""configs/adapt from the command line, at tiny size, on a table of images drawn here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.pretraining.beitv2 import BEiTv2
from tests.conftest import ROOT, refused, run_tool, table_of, tiny_pretraining, tiny_tokenizer
from tests.forked import train_by_two

# What makes it small; the rest is the recipe as it is: layer-wise decay, clipping, color jitter, the first score.
TINY = """
_base_ = {base!r}
data_root = {root!r}
arch = dict(_delete_=True, embed_dims=32, depth=2, num_heads=2)
vit = dict(arch=arch, img_size=32, patch_size=8)
model = dict(
    backbone=dict(**vit, out_indices=(0, 1), layer_scale_init_value=0.1, drop_path_rate=0.0),
    tokenizer=dict(
        encoder=vit,
        decoder=dict(arch=arch, img_size=4, in_channels=8),
        quantizer=dict(num_codes=16, code_dim=8),
        target_dims=24,
        init_cfg=dict(checkpoint=data_root + '/tokenizer.pth'),
    ),
    init_cfg=dict(checkpoint=data_root + '/pretrained.pth'),
    data_preprocessor=dict(view_size=32),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(scale=32)
train_pipeline[5].update(grid_size=4, num_masked=6, min_block=2)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(_delete_=True, type='mmbeitv2.HuggingFaceImages', path=data_root + '/images-table',
                 pipeline=train_pipeline),
)
hook = _base_.custom_hooks.pop()
for key in ('bank_dataloader', 'query_dataloader'):
    hook[key].update(batch_size=4, num_workers=0)
    hook[key]['dataset'].update(data_root=data_root + '/images', data_prefix='')
    hook[key]['dataset']['pipeline'][1].update(scale=32)
hook.update(interval=2, num_neighbors=3, patience=50)
custom_hooks = [*_base_.custom_hooks, hook]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4)]
train_cfg = dict(max_iters=6)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
randomness = dict(seed=3)
"""


@pytest.fixture
def config(tmp_path: Path, image_folder: Path) -> str:
    model = MODELS.build(tiny_pretraining(tokenizer=tiny_tokenizer()))
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    torch.save(model.tokenizer.module.state_dict(), tmp_path / 'tokenizer.pth')
    assert table_of(image_folder) == tmp_path / 'images-table'
    path = tmp_path / 'tiny.py'
    path.write_text(TINY.format(base=str(ROOT / 'configs' / 'adapt' / 'beitv2_vit-b_adapt-knn.py'), root=str(tmp_path)))
    return str(path)


def test_two_processes_adapt_as_one_and_a_stopped_run_ends_as_left_alone(
    tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The stopped one bit for bit, with a worker that had loaded ahead, in the second pass over the table.

    Two processes have two images each and one has four; drop path, which draws for each process, is off.
    """
    (tmp_path / 'images/cat/nested/0.jpg').unlink()  # an odd number is scored: one process has an image twice
    run_tool('train', config, '--work-dir', str(tmp_path / 'one'))
    train_by_two(config, tmp_path / 'two', '--cfg-options', 'train_dataloader.batch_size=2')
    step, calls = BEiTv2.train_step, []

    def stopping(*args: object, **kwargs: object) -> dict:
        calls.append(1)
        if len(calls) == 6:
            raise InputError('enough')
        return step(*args, **kwargs)

    monkeypatch.setattr(BEiTv2, 'train_step', stopping)
    assert 'enough' in refused(capsys, 'train', config, '--work-dir', str(tmp_path / 'stopped'))
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / 'stopped').glob('iter_*.pth')] == ['iter_4.pth']
    run_tool('train', config, '--work-dir', str(tmp_path / 'stopped'), '--resume')

    runs = ('one', 'two', 'stopped')
    one, two, resumed = (torch.load(tmp_path / name / 'iter_6.pth', weights_only=False) for name in runs)
    torch.testing.assert_close(resumed['state_dict'], one['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer']['state'], one['optimizer']['state'], rtol=0, atol=0)
    torch.testing.assert_close(two['state_dict'], one['state_dict'], rtol=0, atol=2e-5)
    start = torch.load(tmp_path / 'pretrained.pth')['state_dict']
    moved = (one['state_dict'][key] - value for key, value in start.items() if key.endswith('weight'))
    assert max(float(difference.abs().max()) for difference in moved) > 1e-3
    records = [file['message_hub']['runtime_info']['knn_top1_record'] for file in (one, two, resumed)]
    assert records[0] == records[1] == records[2]
    assert records[0]['start'] is not None
