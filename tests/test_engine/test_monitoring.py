from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmbeitv2.engine import monitoring
from tests.conftest import NUM_CODES, TEACHER, tiny_tokenizer


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


class Recorder(Hook):
    """Keeps the codes of each step, and what the log says."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.counts: list[torch.Tensor] = []
        self.logged: list[tuple[float, float]] = []

    def before_run(self, runner: Runner) -> None:
        quantizer, lookup = runner.model.quantize, runner.model.quantize.lookup

        def recording(codes: torch.Tensor) -> torch.Tensor:
            self.counts.append(torch.bincount(codes, minlength=NUM_CODES))
            return lookup(codes)

        quantizer.lookup = recording

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: object) -> None:
        if batch_idx % 2 == 1:
            scalars = runner.message_hub.log_scalars
            self.logged.append(tuple(scalars[f'train/{name}'].current() for name in ('codebook_usage', 'perplexity')))


def build_runner(tmp_path: Path, dataset: Dataset, *hooks: Hook, teacher: dict = TEACHER) -> Runner:
    loader = dict(
        batch_size=4,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        model=ConfigDict(
            tiny_tokenizer(
                teacher=teacher,
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


def test_log_has_usage_and_perplexity_of_its_window(tmp_path: Path) -> None:
    recorder = Recorder()
    build_runner(tmp_path, Images(), recorder).train()
    assert len(recorder.counts) == 4
    for window, (usage, perplexity) in enumerate(recorder.logged):
        counts = sum(recorder.counts[2 * window : 2 * window + 2]).double()
        share = counts / counts.sum()
        entropy = -sum(value * math.log(value) for value in share.tolist() if value > 0)
        assert usage == pytest.approx(100 * (counts > 0).double().mean().item())
        assert perplexity == pytest.approx(math.exp(entropy))
    assert len(recorder.logged) == 2


def test_spoilt_images_stop_the_run_and_no_checkpoint_is_written_from_them(tmp_path: Path) -> None:
    runner = build_runner(tmp_path, Images(spoilt=9))
    with pytest.raises(ValueError, match=r'step 3: an image has pixels that are NaN.*--resume'):
        runner.train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_1.pth', 'iter_2.pth']
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        ('teacher.module.norm', "the teacher's features are NaN"),
        ('encoder.blocks.0.norm1', "the encoder's features are NaN"),
        ('decoder.blocks.0.norm1', "the decoder's features are NaN"),
    ],
)
def test_the_cause_is_named(tmp_path: Path, part: str, message: str) -> None:
    runner = build_runner(tmp_path, Images())
    runner.model.init_weights()
    runner.model._is_init = True
    owner: object = runner.model
    for name in part.split('.'):
        owner = getattr(owner, name)
    with torch.no_grad():
        owner.weight[0] = float('nan')  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=f'step 1: {message}'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


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
