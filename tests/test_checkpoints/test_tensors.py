"""What a file may hold; that nothing in it runs, however it is asked for; that the log of a run comes back whole."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.fileio import BaseStorageBackend
from mmengine.fileio.backends.registry_utils import backends
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmbeitv2.checkpoints import loading_tensors_only, require_fit
from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.errors import InputError


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable, *arguments: object, state: object = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.call


def malicious(canary: Path) -> dict[str, Any]:
    touch = Call(os.system, f'touch {canary}')
    update = Call(getattr, HistoryBuffer, 'update')
    objects = np.empty(1, dtype=object)
    objects[0] = touch
    address = (1, (1,), np.dtype('O'), False, bytes(8))
    structure = np.zeros(1, dtype=[('field', 'O')])
    structure[0] = touch
    return {
        'a call': touch,
        'a call deep inside': {'a': [({'b': touch},)]},
        'eval': Call(eval, f'open({str(canary)!r}, "w")'),
        'a method of a path': Call(Path.touch, canary),
        'an attribute of an attribute': Call(getattr, update, '__globals__'),
        'an attribute of a tensor': Call(getattr, torch.zeros(1), 'tofile'),
        'an array of objects': objects,
        'an array of structures': structure,
        'an array of an address': Call(np._core.multiarray._reconstruct, np.ndarray, (0,), b'b', state=address),
        'an array scalar of an address': Call(np._core.multiarray.scalar, np.dtype('O'), bytes(8)),
        'an array scalar of a pickle': Call(np._core.multiarray.scalar, np.dtype('O'), pickle.dumps(touch)),
        'a class': os.PathLike,
    }


@pytest.mark.parametrize(('kind', 'is_zip'), [*((kind, True) for kind in malicious(Path())), ('a call', False)])
def test_nothing_in_a_file_runs(tmp_path: Path, kind: str, is_zip: bool) -> None:
    canary, path = tmp_path / 'canary', tmp_path / 'file.pth'
    content = {'state_dict': {'weight': torch.zeros(2)}, 'extra': malicious(canary)[kind]}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match=r"file.pth' cannot be used: it ") as error:
        read_file(path)
    assert not canary.exists()
    assert 'weights_only' not in str(error.value)


def test_in_our_tools_no_way_of_mmengine_runs_a_file(tmp_path: Path) -> None:
    canary, path = tmp_path / 'canary', str(tmp_path / 'file.pth')
    torch.save({'state_dict': {'weight': torch.zeros(2)}, 'x': malicious(canary)['a call']}, path)
    with loading_tensors_only():
        with pytest.raises(InputError, match='refers to .*system, but only tensors and plain data are loaded'):
            CheckpointLoader.load_checkpoint(path)
        with pytest.raises(InputError, match='refers to .*system'):
            BaseModule(init_cfg=dict(type='Pretrained', checkpoint=path)).init_weights()
    assert not canary.exists()


class Store(BaseStorageBackend):
    """An object store that holds the files of a folder."""

    folder: Path

    @contextmanager
    def get_local_path(self, filepath: str) -> Iterator[str]:
        yield str(self.folder / Path(filepath).name)

    def get(self, filepath: str) -> bytes:
        raise NotImplementedError

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        raise NotImplementedError


def test_in_our_tools_object_stores_and_a_project_s_own_loaders_keep_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, Store.folder = tmp_path / 'canary', tmp_path
    torch.save({'weight': torch.ones(2), 'name': np.str_('road')}, tmp_path / 'good.pth')
    torch.save({'x': malicious(canary)['a call']}, tmp_path / 'bad.pth')
    monkeypatch.setitem(backends, 'petrel', Store)
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('own://', lambda name, map_location: {'read': name})
    before = list(CheckpointLoader._schemes.items())
    with loading_tensors_only():
        assert CheckpointLoader.load_checkpoint('own://a') == {'read': 'own://a'}
        assert CheckpointLoader.load_checkpoint('s3://bucket/good.pth')['name'] == 'road'
        with pytest.raises(InputError, match='refers to .*system'):
            CheckpointLoader.load_checkpoint('petrel://bucket/bad.pth')
        with loading_tensors_only():
            assert CheckpointLoader.load_checkpoint(str(tmp_path / 'good.pth'))['name'] == 'road'
    assert not canary.exists()
    with pytest.raises(RuntimeError), loading_tensors_only():
        raise RuntimeError
    assert list(CheckpointLoader._schemes.items()) == before
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


def test_what_other_models_keep_in_their_files_comes_back_whole(tmp_path: Path) -> None:
    content = {
        'mask': torch.full((2, 2), float('-inf')),
        'sparse': torch.eye(2).to_sparse(),
        'meta': {
            'config': 'model = dict()',
            'classes': tuple(np.array(['road', 'sky'])),
            'names': np.array(['a', 'bcd']),
            'palette': np.arange(6, dtype='>i2').reshape(2, 3).T,
            'times': np.array(['2026-01-02T03', 'NaT'], dtype='M8[h]'),
            'flags': [np.bool_(True), np.float64(0.5), np.str_(''), np.datetime64('2026-01-02', 'D'), np.dtype('f4')],
            'when': datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=1))),
            'path': Path('a/b.py'),
            'windows': PureWindowsPath('C:/a'),
            'objects': np.array(['car', None, (1, 2)], dtype=object),
            'cfg': ConfigDict(a=dict(b=[1, np.float32(2)])),
            'whole_cfg': Config(dict(a=1)),
            'counts': defaultdict(int, a=1),
            'args': Namespace(lr=np.float64(1e-3), size=torch.Size([2]), dtype=torch.bfloat16),
        },
    }
    torch.save(content, tmp_path / 'file.pth')
    read = read_file(tmp_path / 'file.pth')
    meta, saved = read['meta'], content['meta']
    assert torch.equal(read['mask'], content['mask'])
    assert read['sparse'].is_sparse
    assert meta['classes'] == saved['classes']
    assert {type(name) for name in meta['classes']} == {np.str_}
    for key in ('names', 'palette', 'times', 'objects'):
        np.testing.assert_array_equal(meta[key], saved[key])
    assert meta['flags'][:-1] == saved['flags'][:-1]
    torch.save(read, tmp_path / 'again.pth')  # as NumPy's own types
    again = torch.load(tmp_path / 'again.pth', weights_only=False)['meta']
    assert type(again['palette']) is np.ndarray
    assert isinstance(again['flags'][-1], np.dtype)
    for key in ('config', 'when', 'cfg', 'counts', 'args'):
        assert meta[key] == saved[key], key
    assert str(meta['path']) == 'a/b.py'
    assert meta['cfg'].a.b == [1, 2]
    assert meta['whole_cfg'].a == 1


def test_the_device_is_the_one_that_mmengine_asks_for(tmp_path: Path) -> None:
    torch.save({'weight': torch.zeros(2)}, tmp_path / 'file.pth')
    with loading_tensors_only():
        for device in ('meta', torch.device('meta'), lambda storage, _: storage):
            weight = CheckpointLoader.load_checkpoint(str(tmp_path / 'file.pth'), map_location=device)['weight']
            assert weight.device.type == ('cpu' if callable(device) else 'meta')


def test_the_log_of_a_run_comes_back_whole(tmp_path: Path) -> None:
    hub = MessageHub.get_instance('test_tensors')
    for value in (1.5, 2.5, float('inf')):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float32(0.25))
    hub.update_info('sizes', np.arange(6, dtype=np.int64).reshape(2, 3).T)
    torch.save({'message_hub': hub.state_dict()}, tmp_path / 'file.pth')
    other = MessageHub.get_instance('test_tensors_other')
    other.load_state_dict(read_file(tmp_path / 'file.pth')['message_hub'])
    log, count = other.get_scalar('train/loss').data
    assert log.tolist() == [1.5, 2.5, float('inf')]
    assert count.tolist() == [1, 1, 1]
    assert other.get_scalar('train/loss').mean(2) == float('inf')
    assert other.get_info('best_score') == 0.25
    assert np.array_equal(other.get_info('sizes'), [[0, 3], [1, 4], [2, 5]])
    other.update_scalar('train/loss', 3.0)
    assert len(other.get_scalar('train/loss').data[0]) == 4


@pytest.mark.parametrize(
    ('name', 'bad', 'dtype'),
    [('file.pth', float('nan'), torch.float32), ('file.safetensors', float('inf'), torch.bfloat16)],
)
def test_weights_of_a_model_that_are_not_finite_are_named(
    tmp_path: Path, name: str, bad: float, dtype: torch.dtype
) -> None:
    model = torch.nn.BatchNorm1d(4).to(dtype)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state['running_mean'][0] = -bad  # a buffer, such as a mask, may be infinite
    state['bias'][2] = bad
    torch.save({'state_dict': state}, tmp_path / name) if name.endswith('pth') else save_file(state, tmp_path / name)
    with pytest.raises(InputError, match=r'NaN or infinite numbers \(1 of 4 in bias\)'):
        require_fit(model, str(tmp_path / name))


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.pth').write_text('no checkpoint')
    (tmp_path / 'text.safetensors').write_bytes(b'\xff' * 20)
    for name, write in (('cut.pth', torch.save), ('cut.safetensors', save_file)):
        write({'weight': torch.zeros(99)}, tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-50])
    for name in ('', 'none.pth', 'folder', 'a\0b'):
        with pytest.raises(InputError, match='not found. Check the path'):
            read_file(str(tmp_path / name) if name else '')
    for path in tmp_path.glob('*.*'):
        with pytest.raises(InputError, match=f"{path.name}' cannot be used: it is damaged or truncated, or was not"):
            read_file(path)
    unreadable = tmp_path / 'unreadable.pth'
    torch.save({'weight': torch.zeros(2)}, unreadable)
    unreadable.chmod(0)
    if not os.access(unreadable, os.R_OK):  # it can be read by root
        with pytest.raises(InputError, match='Permission denied'):
            read_file(unreadable)
