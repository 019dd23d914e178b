"""configs/adapt from the command line, at tiny size, on a table of images drawn here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.pretraining.beitv2 import BEiTv2
from tests.conftest import ROOT, refused, run_tool, table_of
from tests.forked import train_by_two
from tests.test_docs.tiny import Weights, shrink, without_weights

# What is small in it beside the sizes; the rest is the recipe: layer-wise decay, clipping, jitter, the first score.
CHANGES = {
    'model.backbone.drop_path_rate': 0.0,
    'train_dataloader.num_workers': 1,
    'optim_wrapper.optimizer.lr': 1e-3,
    'param_scheduler': [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4)],
    'train_cfg.max_iters': 6,
    'randomness.seed': 3,
}


@pytest.fixture
def config(tmp_path: Path, image_folder: Path) -> str:
    cfg = Config.fromfile(ROOT / 'configs/adapt/beitv2_vit-b_adapt-knn.py')
    shrink(cfg, Weights(tmp_path)).merge_from_dict(CHANGES)
    model = MODELS.build(without_weights(cfg.model))
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    torch.save(model.tokenizer.module.state_dict(), tmp_path / 'tokenizer.pth')
    cfg.model.init_cfg.checkpoint = str(tmp_path / 'pretrained.pth')
    cfg.model.tokenizer.init_cfg.checkpoint = str(tmp_path / 'tokenizer.pth')
    pipeline = cfg.train_dataloader.dataset.pipeline
    table = dict(type='mmbeitv2.HuggingFaceImages', path=str(table_of(image_folder)), pipeline=pipeline)
    cfg.train_dataloader.dataset = table
    hook = cfg.custom_hooks[-1]
    hook.update(num_neighbors=3, patience=50)
    for loader in (hook.bank_dataloader, hook.query_dataloader):
        loader.dataset.update(data_root=str(image_folder), data_prefix='')
    cfg.dump(tmp_path / 'tiny.py')
    return str(tmp_path / 'tiny.py')


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
