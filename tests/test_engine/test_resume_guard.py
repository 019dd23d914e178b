"""A run goes on only from a checkpoint of the same run, and new settings of the optimizer take effect."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmbeitv2_tools.launch import build_runner
from mmengine.config import Config
from mmengine.runner import Runner

from mmbeitv2.engine import guard_resume, prepare_resume
from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from tests.conftest import EXACT_LOADER, EXACT_MASKED, EXACT_RUNTIME, draw_images, tiny_pretraining, tiny_tokenizer


@pytest.fixture(scope='module')
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch: images, a tokenizer, a config and, in ``work``, a checkpoint."""
    folder = tmp_path_factory.mktemp('former')
    draw_images(folder / 'images')
    torch.manual_seed(0)
    tokenizer = MODELS.build(tiny_tokenizer())
    tokenizer.init_weights()
    torch.save(tokenizer.state_dict(), folder / 'tokenizer.pth')
    train(folder, folder / 'work')
    return folder


def config(folder: Path) -> Config:
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(folder / 'tokenizer.pth'))
    model = tiny_pretraining(tokenizer=tiny_tokenizer(init_cfg=init_cfg))
    text = EXACT_RUNTIME + EXACT_LOADER.format(root=str(folder / 'images'), pipeline=EXACT_MASKED)
    cfg = Config.fromstring(text + f'model = {model!r}\n', '.py')
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = 1
    cfg.optim_wrapper.optimizer.weight_decay = 0.05
    return cfg


def train(
    folder: Path, work_dir: Path, changes: dict | None = None, allow: tuple[str, ...] = (), **settings: Any
) -> Runner:
    """Trains in this process, as tools/train.py does."""
    cfg = config(folder)
    cfg.merge_from_dict(dict(work_dir=str(work_dir), launcher='none', **settings))
    cfg.merge_from_dict(changes or {})
    prepare_resume(cfg)
    runner = build_runner(cfg)
    guard_resume(runner, allow)
    runner.train()
    return runner


def resume(former: Path, work_dir: Path, changes: dict | None = None, allow: tuple[str, ...] = ()) -> Runner:
    checkpoint = str(former / 'work' / 'epoch_1.pth')
    return train(
        former, work_dir, {'train_cfg.max_epochs': 2} | (changes or {}), allow, resume=True, load_from=checkpoint
    )


def log_of(runner: Runner) -> str:
    return next(Path(runner.work_dir).glob('*/*.log')).read_text()


def rates(runner: Runner) -> list[float]:
    return [float(rate) for rate in re.findall(r' lr: ([\d.e+-]+)', log_of(runner))]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.backbone.arch.num_heads': 4}, r'relative_position_bias_table has shape \(52, 2\) in the file and'),
        ({'model.neck': None, 'model.backbone.out_indices': (1,)}, 'the model has no neck.blocks.0.gamma_1'),
    ],
)
def test_another_model_is_refused_before_a_step(former: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resume(former, tmp_path, changes)


def test_weights_alone_are_no_run(former: Path, tmp_path: Path) -> None:
    content = torch.load(former / 'work' / 'epoch_1.pth', weights_only=False)
    torch.save(dict(state_dict=content['state_dict']), tmp_path / 'weights.pth')
    with pytest.raises(InputError, match='weights.pth lacks optimizer and .*; a run cannot be resumed'):
        train(former, tmp_path / 'work', resume=True, load_from=str(tmp_path / 'weights.pth'))


@pytest.mark.parametrize(
    'changes', [{}, {'model.backbone.with_cp': True, 'train_dataloader.dataset.max_unreadable': 0.1}]
)
def test_how_images_are_read_and_steps_computed_may_change(former: Path, tmp_path: Path, changes: dict) -> None:
    runner = resume(former, tmp_path, changes | {'train_cfg.max_epochs': 1})
    assert ('Resumed with changes' in log_of(runner)) == bool(changes)
    assert 'The run has ended before' in log_of(runner)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.backbone.drop_path_rate': 0.2}, 'model.backbone.drop_path_rate was not set and is 0.2 now'),
        ({'randomness.seed': 6}, 'seed was 5 and is 6 now'),
    ],
)
def test_what_changes_the_meaning_of_a_run_needs_a_word(
    former: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=f'{message}.*--allow-changes') as error:
        resume(former, tmp_path / 'refused', changes)
    (allowed,) = re.findall(r'--allow-changes (\S+);', str(error.value))
    runner = resume(former, tmp_path / 'allowed', changes, (allowed,))
    assert message in log_of(runner)
    assert runner.seed == changes.get('randomness.seed', 5)


def test_another_tokenizer_and_other_images_need_a_word(former: Path, tmp_path: Path) -> None:
    shutil.copytree(former, tmp_path / 'former')
    moved = tmp_path / 'former'
    checkpoint = str(former / 'work' / 'epoch_1.pth')
    settings = dict(resume=True, load_from=checkpoint)
    train(moved, tmp_path / 'work', **settings)  # another place is no other run
    state = torch.load(moved / 'tokenizer.pth')
    state['quantize.embedding.weight'][0] *= -1
    torch.save(state, moved / 'tokenizer.pth')
    with pytest.raises(InputError, match=r'tokenizer was weights \w+ and is weights \w+ now'):
        train(moved, tmp_path / 'work', **settings)
    (moved / 'images/dog/nested/7.jpg').rename(moved / 'images/dog/nested/8.jpg')
    with pytest.raises(InputError, match=r'dataset was 16 images, .* and is 16 images, .* now'):
        train(moved, tmp_path / 'work', None, ('tokenizer',), **settings)


def test_a_new_learning_rate_schedule_and_batch_size_take_effect_as_if_from_the_start(
    former: Path, tmp_path: Path
) -> None:
    changes = {
        'optim_wrapper.optimizer': dict(lr=1e-4, weight_decay=0.3),
        'param_scheduler.1.eta_min': 5e-5,
        'train_dataloader.batch_size': 8,
    }
    whole = train(former, tmp_path / 'whole', changes | {'train_cfg.max_epochs': 2})
    resumed = resume(former, tmp_path / 'resumed', changes)
    assert rates(resumed) == pytest.approx(rates(whole)[2:], abs=0)
    assert resumed.iter == whole.iter == 4
    groups = [runner.optim_wrapper.optimizer.param_groups for runner in (whole, resumed)]
    for one, other in zip(*groups, strict=True):
        assert {**one, 'params': None} == {**other, 'params': None}
    for one, other in zip(whole.param_schedulers, resumed.param_schedulers, strict=True):
        assert one.state_dict() == other.state_dict()
    (line,) = [line for line in log_of(resumed).splitlines() if 'Resumed with changes' in line]
    assert 'optim_wrapper.optimizer.lr was 0.001 and is 0.0001 now' in line
    assert 'the schedule continues as if these had been its settings from the start' in line


def test_parameters_keep_their_moments_in_other_groups(former: Path, tmp_path: Path) -> None:
    plain = resume(former, tmp_path / 'plain').model.state_dict()
    keys = {'head': dict(lr_mult=1.0001), 'proj': dict(lr_mult=0.9999)}
    other = resume(former, tmp_path / 'other', {'optim_wrapper.paramwise_cfg': dict(custom_keys=keys)})
    torch.testing.assert_close(other.model.state_dict(), plain, rtol=1e-3, atol=1e-6)
    one = resume(former, tmp_path / 'one', {'optim_wrapper.optimizer.weight_decay': 0.0})  # one group instead of two
    assert len(one.optim_wrapper.param_groups) == 1
    content = torch.load(former / 'work' / 'epoch_1.pth', weights_only=False)
    for group in content['optimizer']['param_groups']:
        del group['names']  # as before version 2
    torch.save(content, tmp_path / 'old.pth')
    start = dict(resume=True, load_from=str(tmp_path / 'old.pth'))
    former_groups = train(former, tmp_path / 'same', {'train_cfg.max_epochs': 2}, **start)
    assert 'the schedule continues' not in log_of(former_groups)
    torch.testing.assert_close(former_groups.model.state_dict(), plain, rtol=0, atol=0)
    with pytest.raises(InputError, match=r'optimizer of the checkpoint has groups of \[\d+, \d+\] parameters'):
        train(
            former,
            tmp_path / 'old',
            {'optim_wrapper.optimizer.weight_decay': 0.0, 'train_cfg.max_epochs': 2},
            **start,
        )


def test_old_checkpoints_are_taken_with_a_warning(former: Path, tmp_path: Path) -> None:
    content = torch.load(former / 'work' / 'epoch_1.pth', weights_only=False)
    del content['meta']['run']
    torch.save(content, tmp_path / 'old.pth')
    changes = {'optim_wrapper.optimizer.lr': 1e-4, 'train_cfg.max_epochs': 2}
    runner = train(former, tmp_path / 'work', changes, resume=True, load_from=str(tmp_path / 'old.pth'))
    assert 'does not record its tokenizer' in log_of(runner)
    assert max(rates(runner)) <= 1e-4


def test_load_from_takes_a_part_of_the_weights_but_none_of_another_shape(former: Path, tmp_path: Path) -> None:
    content = torch.load(former / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    part = {key: value for key, value in content.items() if key.startswith('backbone')}
    torch.save({'model': part | {'other.weight': torch.zeros(1)}}, tmp_path / 'part.pth')
    train(former, tmp_path / 'work', load_from=str(tmp_path / 'part.pth'))
    for weights, message in (
        ({'other.weight': torch.zeros(1)}, r'none of the \d+ weights of the model .the first key in the file is other'),
        ({'backbone.cls_token': torch.zeros(1, 1, 8)}, r'shape \(1, 1, 8\) in the file and \(1, 1, 32\)'),
    ):
        torch.save(weights, tmp_path / 'wrong.pth')
        with pytest.raises(InputError, match=message):
            train(former, tmp_path / 'work', load_from=str(tmp_path / 'wrong.pth'))
