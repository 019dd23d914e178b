"""Checkpoints that the tools are given by address or by the name of a published model; a local server has them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from mmbeitv2.checkpoints import convert_checkpoint, loading_tensors_only, zoo
from mmbeitv2.checkpoints.downloading import cached_path
from tests.conftest import classification_config, refused, run_tool

NAME = 'beitv2-base_in1k-1600e_ft-in1k_release'


def publish(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Puts an address in place of the release's."""
    entry = replace(zoo.describe_model(NAME), weights=address)
    monkeypatch.setitem(zoo._models(), NAME, entry)


@pytest.fixture(autouse=True)
def _as_in_our_tools() -> Iterator[None]:
    with loading_tensors_only():
        yield


@pytest.fixture
def config(tmp_path: Path, image_folder: Path) -> str:
    return classification_config(tmp_path, image_folder)


@pytest.fixture
def trained(config: str, tmp_path: Path) -> Path:
    """A checkpoint of a run after one epoch."""
    run_tool('train', config, '--work-dir', str(tmp_path / 'trained'), '--cfg-options', 'train_cfg.max_epochs=1')
    return tmp_path / 'trained' / 'epoch_1.pth'


def test_training_goes_on_from_an_address_which_the_check_has_downloaded(
    config: str, trained: Path, tmp_path: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture
) -> None:
    folder, address = served
    shutil.copy(trained, folder)
    command = ('train', config, '--work-dir', str(tmp_path / 'work'), '--resume', f'{address}/epoch_1.pth')
    run_tool(*command, '--check')
    assert f'starts from   {address}/epoch_1.pth' in capsys.readouterr().out
    assert not (tmp_path / 'work').exists()
    (folder / 'epoch_1.pth').unlink()
    run_tool(*command)
    said = capsys.readouterr().out
    assert 'resumed epoch: 1' in said
    copy = str(cached_path(f'{address}/epoch_1.pth'))
    assert f'Loads checkpoint by mmbeitv2 backend from path: {address}/epoch_1.pth' in said
    assert f'{address}/epoch_1.pth is read from its local copy {copy!r}' in said
    assert [path.name for path in (tmp_path / 'work').glob('*.pth')] == ['epoch_2.pth']


def test_a_published_model_is_converted_and_gives_the_weights_to_start_from_and_is_not_resumed(
    config: str,
    trained: Path,
    tmp_path: Path,
    served: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    folder, address = served
    convert_checkpoint(str(trained), str(folder / 'released.pth'), 'official')
    publish(monkeypatch, f'{address}/released.pth')
    command = ('train', config, '--work-dir', str(tmp_path / 'work'))
    sentence = refused(capsys, *command, '--resume', NAME)
    assert f'{NAME} lacks optimizer' in sentence
    assert f'with --cfg-options load_from={NAME}' in sentence
    start = ('--cfg-options', f'load_from={NAME}', 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=1e-12')
    run_tool(*command, *start, 'optim_wrapper.optimizer.weight_decay=0')
    run_tool('convert_checkpoint', NAME, str(tmp_path / 'ours.pth'), '--to', 'mmbeitv2')
    paths = (trained, tmp_path / 'work' / 'epoch_1.pth', tmp_path / 'ours.pth')
    expected, started, converted = (torch.load(path, weights_only=False)['state_dict'] for path in paths)
    torch.testing.assert_close(started, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(dict(converted), dict(expected), atol=0, rtol=0)
    (cached,) = (tmp_path / 'torch').rglob('released.pth')
    to_cache = ('convert_checkpoint', NAME, str(cached), '--to', 'mmbeitv2')
    assert 'is the checkpoint to convert' in refused(capsys, *to_cache)


def test_a_scheme_that_the_project_registered_is_read_by_its_own_loader(
    config: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    asked = []

    @CheckpointLoader.register_scheme(prefixes='guest://')
    def load_guest(name: str, map_location: object = None) -> dict:
        asked.append(name)
        return torch.load(trained.with_name(name.removeprefix('guest://')), map_location, weights_only=False)

    name, options = 'guest://epoch_1.pth', ('--cfg-options', 'optim_wrapper.optimizer.lr=0', 'train_cfg.max_epochs=1')
    init_cfg = 'model.backbone.init_cfg'
    start = [f'{init_cfg}.type=mmbeitv2.PretrainedBEiTv2', f'{init_cfg}.checkpoint={name}']
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'), *options, *start)
    source, state = (
        torch.load(path, weights_only=False)['state_dict'] for path in (trained, tmp_path / 'work/epoch_1.pth')
    )
    assert all(torch.equal(state[key], source[key]) for key in source if key.startswith('backbone.'))
    before = len(asked)
    run_tool('test', config, name, '--work-dir', str(tmp_path / 'test'))
    assert 0 < before < len(asked)
    assert set(asked) == {name}
