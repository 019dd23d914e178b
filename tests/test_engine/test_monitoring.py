from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmbeitv2.engine import monitoring
from mmbeitv2.errors import InputError
from tests.conftest import TEACHER, tiny_tokenizer
from tests.forked import spawn


class Images(Dataset):
    """Random images, one of which may be spoilt."""

    def __init__(self, spoilt: int | None = None) -> None:
        self.images = torch.randint(0, 256, (16, 3, 32, 32)).float()
        if spoilt is not None:
            self.images[spoilt] = float('nan')

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict:
        return {'inputs': self.images[index]}


def build_runner(tmp_path: Path, dataset: Dataset, *hooks: Hook | dict) -> Runner:
    loader = dict(
        batch_size=4,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        model=ConfigDict(
            tiny_tokenizer(
                teacher=TEACHER,
                target_dims=None,
                data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
            )
        ),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        train_cfg=dict(by_epoch=False, max_iters=4),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False),
        ),
        custom_hooks=[dict(type='mmbeitv2.NonFiniteLossHook'), dict(type='mmbeitv2.CodebookHook'), *hooks],
        default_scope='mmpretrain',
        experiment_name=str(tmp_path),
    )


class Counting(nn.Module):
    """All that the hook asks of a tokenizer."""

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self.register_buffer('code_counts', torch.tensor(counts))


def _count_main(rank: int, folder: str) -> None:
    hub, hook = MessageHub.get_instance(f'rank{rank}'), monitoring.CodebookHook()
    runner = SimpleNamespace(model=Counting(0, 0, 0, 0), message_hub=hub, hooks=[LoggerHook(interval=1)])
    hook.before_train(runner)
    runner.model.code_counts += torch.tensor([[2, 0, 1, 0], [0, 0, 3, 0]][rank])
    hook.after_train_iter(runner, 0)
    assert not runner.model.code_counts.any()
    scalars = {name: float(value.current()) for name, value in hub.log_scalars.items()}
    torch.save(scalars, f'{folder}/{rank}.pt')


def test_the_codes_of_all_processes_are_counted_for_any_tokenizer(tmp_path: Path) -> None:
    spawn(_count_main, str(tmp_path))
    entropy = -sum(share * math.log(share) for share in (2 / 6, 4 / 6))
    for rank in range(2):
        scalars = torch.load(tmp_path / f'{rank}.pt')
        assert scalars == pytest.approx({'train/codebook_usage': 50, 'train/perplexity': math.exp(entropy)})
    with pytest.raises(InputError, match='CodebookHook needs a tokenizer that counts'):
        monitoring.CodebookHook().before_train(SimpleNamespace(model=nn.Linear(1, 1), hooks=[]))


def test_spoilt_images_stop_the_run_and_no_checkpoint_is_written_from_them(tmp_path: Path) -> None:
    runner = build_runner(tmp_path, Images(spoilt=9))
    with pytest.raises(ValueError, match=r'step 3: loss.* became NaN or infinite.*--resume'):
        runner.train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_1.pth', 'iter_2.pth']
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


def test_speed_is_that_of_the_steps_since_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(monitoring, 'time', SimpleNamespace(perf_counter=lambda: clock.seconds))

    class Slow(Hook):
        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
            clock.seconds += 1 + runner.iter

    runner = build_runner(tmp_path, Images(), Slow(), dict(type='mmbeitv2.ThroughputHook'))
    runner.train()
    speeds = runner.message_hub.get_scalar('train/images_per_second').data[0]
    assert speeds.tolist() == pytest.approx([8 / (1 + 2), 8 / (3 + 4)])  # two steps a line, four images a step
