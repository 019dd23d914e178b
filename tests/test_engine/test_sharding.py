"""A sharded run is the same training as one that is not, and either resumes the other's checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.conftest import resumable_pretraining
from tests.forked import train, train_by_two

SHARDED = (
    "env_cfg = dict(dist_cfg=dict(backend='nccl'))\nrunner_type = 'FlexibleRunner'\n"
    "strategy = dict(type='mmbeitv2.FullyShardStrategy')\n"
)
# Every step is clipped, and decay is strong: both need to know whole parameters.
STEEP = 'optim_wrapper.update(clip_grad=dict(max_norm=0.1))\noptim_wrapper["optimizer"].update(weight_decay=5.0)\n'
# Reads features past the model's forward.
KNN = """
labeled = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_root={root!r}, with_label=True, pipeline=[
        dict(type='mmbeitv2.LoadImage'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]))
custom_hooks.append(dict(type='mmbeitv2.KNNHook', bank_dataloader=labeled, query_dataloader=labeled, interval=4,
                         num_neighbors=3))
"""
KEEP_ALL = 'default_hooks["checkpoint"]["max_keep_ckpts"] = -1\n'


def grad_norms(output: str) -> list[float]:
    return [float(norm) for norm in re.findall(r'grad_norm: ([\d.]+)', output)]


def assert_same(one: Path, other: Path) -> None:
    one, other = (torch.load(path, weights_only=False) for path in (one, other))
    assert one.keys() == other.keys()
    assert list(one['state_dict']) == list(other['state_dict'])
    for key, value in one['state_dict'].items():
        torch.testing.assert_close(other['state_dict'][key], value, rtol=0, atol=2e-6, msg=key)
    assert one['optimizer']['param_groups'] == other['optimizer']['param_groups']
    for index, moments in one['optimizer']['state'].items():
        for key, value in moments.items():
            torch.testing.assert_close(other['optimizer']['state'][index][key], value, rtol=1e-3, atol=1e-6)


def test_sharded_and_whole_runs_are_the_same_and_resume_each_other(tmp_path: Path, image_folder: Path) -> None:
    text = resumable_pretraining(image_folder) + STEEP + KEEP_ALL + KNN.format(root=str(image_folder))
    whole, sharded = tmp_path / 'whole.py', tmp_path / 'sharded.py'
    whole.write_text(text)
    sharded.write_text(text + SHARDED)
    log = train_by_two(str(whole), tmp_path / 'whole')
    sharded_log = train_by_two(str(sharded), tmp_path / 'sharded')
    assert min(grad_norms(log)) > 0.1
    assert grad_norms(sharded_log) == pytest.approx(grad_norms(log), abs=2e-4)
    assert re.findall(r'knn_top1: [\d.]+', sharded_log) == re.findall(r'knn_top1: [\d.]+', log) != []
    assert_same(tmp_path / 'whole' / 'epoch_4.pth', tmp_path / 'sharded' / 'epoch_4.pth')
    for config, first in ((str(sharded), 'whole'), (str(whole), 'sharded')):
        resumed = tmp_path / f'{first}_resumed'
        output = train_by_two(config, resumed, '--resume', str(tmp_path / first / 'epoch_2.pth'))
        assert 'resumed epoch: 2' in output
        assert_same(tmp_path / 'whole' / 'epoch_4.pth', resumed / 'epoch_4.pth')


def test_one_process_has_nothing_to_share(tmp_path: Path, image_folder: Path) -> None:
    config = tmp_path / 'sharded.py'
    config.write_text(resumable_pretraining(image_folder) + SHARDED)
    message = train(str(config), tmp_path / 'work', ok=False).strip().splitlines()[-1]
    assert message.startswith('train.py: error: FullyShardStrategy needs several processes')
