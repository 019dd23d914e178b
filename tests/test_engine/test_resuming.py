"""A run that is killed and resumed ends as one left alone, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmbeitv2.engine import prepare_resume
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import write_atomically
from tests.conftest import (
    TEACHER,
    on_table,
    resumable_kmeans,
    resumable_lora,
    resumable_pretraining,
    resumable_tokenizer,
    run_tool,
)
from tests.forked import start, train


def final_weights(work_dir: Path) -> dict:
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_4.pth')
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_4.pth']
    content = torch.load(work_dir / 'epoch_4.pth', weights_only=False)
    weights = {f'weight {key}': value for key, value in content['state_dict'].items()}
    for index, state in content['optimizer']['state'].items():
        weights |= {f'{key} {index}': value for key, value in state.items()}
    return weights


def train_until_the_third_epoch(*arguments: str) -> None:
    """Kills itself and its workers after two of its four steps."""
    run_iter, steps = EpochBasedTrainLoop.run_iter, []

    def dying(self: EpochBasedTrainLoop, *args: object) -> None:
        if len(steps) == 10:
            os.killpg(0, signal.SIGKILL)
        steps.append(1)
        run_iter(self, *args)

    EpochBasedTrainLoop.run_iter = dying
    run_tool('train', *arguments)


@pytest.mark.parametrize('stage', [resumable_pretraining, resumable_lora, resumable_tokenizer, resumable_kmeans])
def test_killed_and_resumed_ends_as_left_alone(
    tmp_path: Path, image_folder: Path, stage: Callable[[Path], str]
) -> None:
    torch.save(MODELS.build(TEACHER).module.state_dict(), tmp_path / 'teacher.pth')
    config = tmp_path / 'config.py'
    config.write_text(stage(image_folder))
    train(str(config), tmp_path / 'alone')
    if stage is resumable_pretraining:
        config.write_text(on_table(config.read_text(), image_folder))  # which changes nothing
    log = tmp_path / 'killed.log'
    process = start(train_until_the_third_epoch, str(config), '--work-dir', str(tmp_path / 'killed'), log=log)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 'Epoch(train) [3][2/4]' in log.read_text()
    train(str(config), tmp_path / 'killed', '--resume')
    alone, resumed = final_weights(tmp_path / 'alone'), final_weights(tmp_path / 'killed')
    assert alone.keys() == resumed.keys()
    different = [key for key in alone if not torch.equal(alone[key], resumed[key])]
    assert not different


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, inputs: list[torch.Tensor], mode: str = 'loss') -> dict | list:
        return dict(loss=(torch.stack(inputs) @ self.weight - 1).square().mean()) if mode == 'loss' else [{}]


class Scripted(BaseMetric):
    """Scores that were written down before, by epoch."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = iter(scores)

    def process(self, data_batch: object, data_samples: object) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        return dict(score=next(self.scores))


def train_toy(work_dir: Path, scores: list[float], epochs: int, resume_from: str | None = None, **hook: object) -> None:
    loader = dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0)
    loader |= dict(dataset=[dict(inputs=torch.ones(2))] * 4)
    runner = Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        val_evaluator=[Scripted(scores)],
        default_hooks=dict(
            checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=1, save_best='score', rule='greater', **hook)
        ),
        load_from=resume_from,
        resume=resume_from is not None,
        experiment_name=f'{work_dir}{resume_from}',
    )
    runner.train()


def names(folder: Path, pattern: str = '*.pth') -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def test_a_whole_best_checkpoint_exists_at_all_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        seen.append((Path(path).name, names(tmp_path, 'best_*')))

    monkeypatch.setattr('mmbeitv2.fileio.atomic.write_atomically', watched)
    train_toy(tmp_path, [1.0, 0.5, 2.0], 3, max_keep_ckpts=1)
    first, third = 'best_score_epoch_1.pth', 'best_score_epoch_3.pth'
    assert [best for name, best in seen if name == 'epoch_2.pth'] == [[first]]
    assert [best for name, best in seen if name == third] == [[first, third]]
    assert names(tmp_path) == [third, 'epoch_3.pth']
    torch.load(tmp_path / third, weights_only=False)


def test_a_copied_work_dir_goes_on_from_itself_and_leaves_the_original_alone(tmp_path: Path) -> None:
    train_toy(tmp_path / 'work', [1.0, 0.5], 2, max_keep_ckpts=2)
    before = names(tmp_path / 'work')
    shutil.copytree(tmp_path / 'work', tmp_path / 'copy')
    cfg = Config(dict(work_dir=str(tmp_path / 'copy'), resume=True))
    assert prepare_resume(cfg) is None
    assert cfg.load_from == str(tmp_path / 'copy' / 'epoch_2.pth')
    train_toy(tmp_path / 'copy', [3.0], 3, cfg.load_from, max_keep_ckpts=2)
    assert names(tmp_path / 'work') == before == ['best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']
    assert names(tmp_path / 'copy') == ['best_score_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_a_checkpoint_that_was_being_written_at_a_kill_is_removed_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / 'epoch_3.pth.0123abcd.tmp').touch()
    (tmp_path / 'epoch_3.pth.tmp').touch()  # the user's
    train_toy(tmp_path, [1.0], 1)
    assert names(tmp_path, '*.tmp') == ['epoch_3.pth.tmp']


def test_a_checkpoint_that_cannot_be_resumed_from_is_named_with_the_one_before(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), resume=True))
    assert 'The run starts from the beginning' in prepare_resume(cfg)
    assert prepare_resume(cfg) is None  # a new run in an empty work dir
    cfg.resume = True
    for number in (9, 10, 11):
        torch.save(dict(weight=torch.zeros(100)), tmp_path / f'epoch_{number}.pth')
        os.utime(tmp_path / f'epoch_{number}.pth', (number, number))
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_11.pth')
    for load_from in (None, str(tmp_path / 'epoch_9.pth')):
        assert 'will be overwritten by this run' in prepare_resume(
            Config(dict(work_dir=cfg.work_dir, load_from=load_from))
        )
    last = tmp_path / 'epoch_11.pth'
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"epoch_11.pth' is truncated: continue from the one before with --resume .*epoch_10.pth"
    ):
        prepare_resume(cfg)
    last.unlink()
    with pytest.raises(InputError, match=r"'elsewhere/epoch_11.pth' does not exist: continue from .*epoch_10.pth"):
        prepare_resume(cfg)
    (tmp_path / 'last_checkpoint').write_text('')  # killed in the middle
    assert prepare_resume(cfg) is None
    assert cfg.load_from == str(tmp_path / 'epoch_10.pth')
    with pytest.raises(InputError, match="checkpoint 'none.pth' not found"):
        prepare_resume(Config(dict(work_dir=str(tmp_path), resume=True, load_from='none.pth')))
