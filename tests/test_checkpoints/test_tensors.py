"""What a file may hold; that nothing in it runs, however it is asked for; that the log of a run comes back whole."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

import mmbeitv2.checkpoints.locating  # noqa: F401  (mmengine loads by our reader)
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
        'an array scalar of a pickle': Call(np._core.multiarray.scalar, np.dtype('O'), pickle.dumps(touch)),
        'a class': os.PathLike,
        'a function that torch allows': torch._utils._rebuild_tensor_v2,
        'a class that stands for another': HistoryBuffer,
        'a dtype without an array': np.dtype('f4'),
    }


@pytest.mark.parametrize('kind', sorted(malicious(Path())))
@pytest.mark.parametrize('is_zip', [True, False])
def test_nothing_in_a_file_runs(tmp_path: Path, kind: str, is_zip: bool) -> None:
    canary, path = tmp_path / 'canary', tmp_path / 'file.pth'
    content = {'state_dict': {'weight': torch.zeros(2)}, 'extra': malicious(canary)[kind]}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match=r"file.pth' cannot be used: it ") as error:
        read_file(path)
    assert not canary.exists()
    assert 'weights_only' not in str(error.value)


def test_a_pickle_within_data_stays_bytes(tmp_path: Path) -> None:
    canary = tmp_path / 'canary'
    inner = pickle.dumps(Call(os.system, f'touch {canary}'))
    torch.save({'weight': torch.zeros(2), 'bytes': inner}, tmp_path / 'file.pth')
    assert read_file(tmp_path / 'file.pth')['bytes'] == inner
    assert not canary.exists()


def test_no_way_of_mmengine_runs_a_file(tmp_path: Path) -> None:
    canary, path = tmp_path / 'canary', str(tmp_path / 'file.pth')
    torch.save({'state_dict': {'weight': torch.zeros(2)}, 'x': malicious(canary)['a call']}, path)
    with pytest.raises(InputError, match='refers to .*system, but only tensors and plain data are loaded'):
        CheckpointLoader.load_checkpoint(path)
    with pytest.raises(InputError, match='refers to .*system'):
        BaseModule(init_cfg=dict(type='Pretrained', checkpoint=path)).init_weights()
    assert not canary.exists()


def test_no_scheme_of_mmengine_is_left_to_its_own_loader() -> None:
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == {'mmbeitv2.checkpoints.locating'}


def test_the_config_in_a_checkpoint_which_mmengine_would_run_is_left_out(tmp_path: Path) -> None:
    meta = {'epoch': 1, 'config': 'import os\nos.system("false")'}
    torch.save({'state_dict': {}, 'meta': meta}, tmp_path / 'file.pth')
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'file.pth'))['meta'] == {'epoch': 1}


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


def test_versions_of_a_state_dict_and_shared_weights_are_kept(tmp_path: Path) -> None:
    layer = torch.nn.BatchNorm1d(2)
    state = layer.state_dict()
    state['again'] = state['weight']
    torch.save(state, tmp_path / 'file.pth')
    read = read_file(tmp_path / 'file.pth')
    assert read._metadata == state._metadata
    assert read['again'] is read['weight']


@pytest.mark.parametrize('name', ['file.pth', 'file.safetensors'])
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_is_not_finite_is_named(tmp_path: Path, name: str, bad: float, dtype: torch.dtype) -> None:
    state = {'layer.weight': torch.zeros(4, dtype=dtype), 'layer.bias': torch.zeros(4, dtype=dtype)}
    state['layer.bias'][2] = bad
    if name.endswith('pth'):
        torch.save({'state_dict': state}, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    with pytest.raises(InputError, match=r'NaN or infinite numbers \(1 of 4 in layer.bias\)'):
        read_file(tmp_path / name)


def test_an_optimizer_state_that_is_not_finite_is_named(tmp_path: Path) -> None:
    state = {'optimizer': {'state': {3: {'exp_avg': torch.tensor([float('nan')])}}}}
    torch.save(state, tmp_path / 'file.pth')
    with pytest.raises(InputError, match='in optimizer state 3 exp_avg'):
        read_file(tmp_path / 'file.pth')


def itself() -> list:
    content: list = []
    content.append(content)
    return content


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (torch.zeros(2, device='meta'), 'the meta tensor'),
        (torch.eye(2).to_sparse(), 'the sparse_coo tensor'),
        (torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), 'the quantized tensor'),
        (torch.zeros(2, dtype=torch.complex64), 'the complex tensor'),
        (torch.zeros(1).expand(10**12), 'a view that repeats values'),
        (itself(), 'it contains itself'),
    ],
)  # fmt: skip
def test_weights_that_no_model_can_take_are_refused_by_name(tmp_path: Path, value: object, reason: str) -> None:
    torch.save({'state_dict': {'layer.weight': value}}, tmp_path / 'file.pth')
    with pytest.raises(InputError, match=f'cannot be used: .*{reason}'):
        read_file(tmp_path / 'file.pth')


def test_what_contains_itself_many_times_takes_no_time(tmp_path: Path) -> None:
    content: list = []
    for _ in range(200):
        content = [content, content]
    torch.save({'weight': torch.zeros(2), 'x': content}, tmp_path / 'file.pth')
    assert len(read_file(tmp_path / 'file.pth')['x']) == 2


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.pth').write_text('no checkpoint')
    (tmp_path / 'text.safetensors').write_bytes(b'\xff' * 20)
    torch.save({'weight': torch.zeros(99)}, tmp_path / 'cut.pth')
    (tmp_path / 'cut.pth').write_bytes((tmp_path / 'cut.pth').read_bytes()[:-50])
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / 'script.pth')
    cases = {
        '': 'the name of the checkpoint is empty',
        'none.pth': 'not found. Check the path',
        'folder': 'has no model.safetensors. Pass the checkpoint file itself',
        'empty.pth': 'it is empty',
        'text.pth': 'it was not written by torch.save or safetensors',
        'text.safetensors': 'it is damaged or truncated',
        'cut.pth': 'it is truncated. Copy or download it again',
        'script.pth': 'it is a TorchScript archive',
        'a\0b': 'not found',
    }
    for name, reason in cases.items():
        with pytest.raises(InputError, match=reason):
            read_file(str(tmp_path / name) if name else '')
    unreadable = tmp_path / 'unreadable.pth'
    torch.save({'weight': torch.zeros(2)}, unreadable)
    unreadable.chmod(0)
    if not os.access(unreadable, os.R_OK):  # it can be read by root
        with pytest.raises(InputError, match='Permission denied'):
            read_file(unreadable)
