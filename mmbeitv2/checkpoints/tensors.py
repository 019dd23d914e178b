"""Reads files of tensors and plain data (numbers, text, lists, dictionaries, arrays); no code in a file is ever run.

torch's restricted unpickler refuses every class and function that is not on its list. The objects that a training run
writes beside the weights (the history of the log, which contains NumPy arrays) are put on this list as the stand-ins
below, which only check and store their arguments.
"""

from __future__ import annotations

import errno
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmbeitv2.errors import InputError

# Letter for the kind and size in bytes, as NumPy pickles a type; objects ('O') are not among them.
_ARRAY_TYPES = ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'b1')
# Parts of a checkpoint that are no weights: a log may hold a gradient norm that was infinite.
_NOT_WEIGHTS = ('message_hub', 'meta')


class _Refused(Exception):
    """A part of a file is not loaded; the message says which and why."""


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, name: object, *_: object) -> None:
        if name not in _ARRAY_TYPES:
            raise _Refused(f'it holds an array of type {name!r}, but only arrays of numbers are loaded')
        self.name = str(name)

    def __setstate__(self, state: tuple) -> None:
        if any(field is not None for field in state[2:5]):  # sub-arrays, names and fields
            raise _Refused('it holds an array of structures, but only arrays of numbers are loaded')
        if state[1] == '>':
            self.name = f'>{self.name}'

    def read(self, data: object) -> np.ndarray:
        return np.frombuffer(data, dtype=self.name).copy()  # type: ignore[call-overload]


class _Array:
    """Stands in for ``numpy.ndarray``; and, called, for the function that makes an empty one to be filled."""

    value: np.ndarray | None = None

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = dtype.read(data).reshape(shape, order='F' if is_fortran else 'C')


class _History:
    """Stands in for mmengine's ``HistoryBuffer``."""

    state: dict | None = None

    def __setstate__(self, state: dict) -> None:
        self.state = state


class _Namespace:
    """Stands in for ``argparse.Namespace``, which many releases keep beside their weights."""

    state: dict | None = None

    def __setstate__(self, state: dict) -> None:
        self.state = state


def _scalar(dtype: _Dtype, data: object) -> Any:
    return dtype.read(data).reshape(()).item()


def _getattr(owner: object, name: object) -> None:
    """Stands in for ``getattr``, by which a history names its own methods; they are not taken from a file."""
    if owner is not _History:
        raise _Refused(f'it asks for the attribute {name!r} of {owner!r}, but only tensors and plain data are loaded')


_STAND_INS: list[Callable | tuple[Callable, str]] = [
    (_getattr, 'builtins.getattr'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_Namespace, 'argparse.Namespace'),
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    *((_Array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]


def read_file(path: str | Path, map_location: object = 'cpu') -> Any:
    """The content of a file that torch or safetensors wrote, tensors and plain data only.

    Args:
        path: the file, or a folder with a ``model.safetensors``, as Hugging Face's ``save_pretrained`` writes it.
        map_location: device for the tensors; anything that is not a device means the CPU.

    Raises:
        InputError: if the file does not exist or is damaged, if it refers to a class or a function, or if a weight is
            not finite or not an ordinary dense tensor.
    """
    file = existing_file(path)
    try:
        content = load_file(file) if file.suffix == '.safetensors' else _unpickle(file)
        return _Walk(map_location).plain(content, ())
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers raise
        raise InputError(f'checkpoint {str(path)!r} cannot be used: {_reason(file, error)}') from error


def existing_file(path: str | Path) -> Path:
    """The file of a checkpoint, which may be given as the folder of ``save_pretrained``.

    Raises:
        InputError: if there is none.
    """
    path = str(path)
    if not path.strip():
        raise InputError('the name of the checkpoint is empty. Pass the path of a file.')
    try:
        file = Path(path).expanduser()
        if file.is_dir():
            if not (file / 'model.safetensors').is_file():
                raise InputError(f'folder {path!r} has no model.safetensors. Pass the checkpoint file itself.')
            file = file / 'model.safetensors'
        if not file.exists():
            raise InputError(f'checkpoint {path!r} not found. Check the path.')
        if not file.is_file():
            raise InputError(f'checkpoint {path!r} is not a regular file. Pass a file.')
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a null byte, an unknown home
        raise InputError(f'checkpoint {path!r} cannot be read ({error}). Pass the path of a file.') from error
    return file


def _unpickle(file: Path) -> object:
    with torch.serialization.safe_globals(_STAND_INS):
        return torch.load(file, map_location='cpu', weights_only=True)


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be read, and what to do."""
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:  # of a seek in a short file
        return error.strerror
    text = str(error)
    if found := re.search(r'GLOBAL (\S+?),? ', text):
        return (
            f'it refers to {found[1]}, but only tensors and plain data are loaded, so that no file can run code. '
            'Save only its state dict with torch.save or safetensors, on the machine where it was made.'
        )
    if isinstance(error, _Refused):
        return text
    try:
        with file.open('rb') as stream:
            start = stream.read(2)
        if start == b'PK' and is_cut_off(file):
            return 'it is truncated. Copy or download it again.'
    except OSError as unreadable:
        return str(unreadable.strerror)
    if not start:
        return 'it is empty'
    if 'TorchScript' in text:
        return 'it is a TorchScript archive. Use a file with a state dict.'
    if isinstance(error, SafetensorError) or start in (b'PK', b'\x80\x02'):
        return 'it is damaged or truncated. Copy or download it again.'
    return 'it was not written by torch.save or safetensors'


def is_cut_off(file: Path) -> bool:
    """Whether the end of a ``torch.save`` file is missing, as after an interrupted copy."""
    with file.open('rb') as stream:
        stream.seek(-min(file.stat().st_size, 1 << 16), os.SEEK_END)
        return b'PK\5\6' not in stream.read()  # the end of the directory of a zip archive


class _Walk:
    """Turns stand-ins into what they stand for, and refuses what is neither a tensor nor plain data.

    Containers that occur several times are visited once; one that contains itself is refused.
    """

    def __init__(self, map_location: object) -> None:
        self.device = torch.device(map_location if isinstance(map_location, (str, torch.device)) else 'cpu')
        self.done: dict[int, tuple[object, object]] = {}  # keeps the source alive, so that no id is used twice
        self.open: set[int] = set()

    def plain(self, value: Any, path: tuple) -> Any:
        if value is None or type(value) in (bool, int, float, complex, str, bytes, torch.dtype, torch.Size):
            return value
        if id(value) in self.open:
            raise _Refused('it contains itself')
        if id(value) not in self.done:
            self.open.add(id(value))
            self.done[id(value)] = (value, self._visit(value, path))
            self.open.remove(id(value))
        return self.done[id(value)][1]

    def _visit(self, value: Any, path: tuple) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if type(value) in (dict, OrderedDict):
            return self._dict(value, path)
        if type(value) in (list, tuple, set):
            return type(value)([self.plain(child, (*path, i)) for i, child in enumerate(value)])
        if isinstance(value, _Array) and value.value is not None:
            return value.value
        if isinstance(value, _History) and isinstance(value.state, dict):
            return self._history(value.state)
        if isinstance(value, _Namespace) and isinstance(value.state, dict):
            return self._dict(value.state, path)
        name = value.__name__ if isinstance(value, type) else type(value).__name__
        raise _Refused(f'it holds a {name.lstrip("_")} at {_name(path)}, which is neither a tensor nor plain data')

    def _dict(self, value: dict, path: tuple) -> dict:
        result = type(value)((self.plain(key, path), self.plain(child, (*path, key))) for key, child in value.items())
        metadata = getattr(value, '_metadata', None)  # versions of the modules of a state dict
        if metadata is not None:
            result._metadata = self.plain(metadata, (*path, '_metadata'))  # type: ignore[attr-defined]
        return result

    def _history(self, state: dict) -> HistoryBuffer:
        log, count = (self.plain(state.get(key), ()) for key in ('_log_history', '_count_history'))
        max_length = state.get('max_length')
        arrays = all(isinstance(array, np.ndarray) and array.ndim == 1 for array in (log, count))
        if not arrays or len(log) != len(count) or type(max_length) is not int or max_length < 1:
            raise _Refused('it is damaged: the history of the log is incomplete')
        return HistoryBuffer(log, count, max_length)

    def _tensor(self, value: Tensor, path: tuple) -> Tensor:
        if type(value) not in (Tensor, torch.nn.Parameter):
            raise _Refused(f'it holds a {type(value).__name__} at {_name(path)}, but only plain tensors are loaded')
        kind = (
            'quantized' if value.is_quantized else
            'meta' if value.is_meta else
            str(value.layout).removeprefix('torch.') if value.layout != torch.strided else
            'complex' if value.is_complex() else None
        )  # fmt: skip
        if kind is not None:
            raise _Refused(f'it holds the {kind} tensor {_name(path)}, but only dense real tensors are loaded')
        value = value.detach()
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise _Refused(f'it holds {_name(path)} as a view that repeats values. Save its .contiguous() instead.')
        if value.is_floating_point() and path[:1] not in [(part,) for part in _NOT_WEIGHTS]:
            # torch.isfinite knows no type of one byte.
            wrong = value.numel() - int(torch.isfinite(value.float() if value.element_size() == 1 else value).sum())
            if wrong:
                raise _Refused(
                    f'it has NaN or infinite numbers ({wrong} of {value.numel()} in {_name(path)}), so the training '
                    'that wrote it had diverged. Use an earlier checkpoint.'
                )
        return value if self.device.type == 'cpu' else value.to(self.device)


def _name(path: tuple) -> str:
    """The place in a file in words: the key of the weight, without what wraps all weights."""
    wrappers = ('state_dict', 'model', 'module')
    keys = [str(key) for key in path]
    while len(keys) > 1 and keys[0] in wrappers:
        keys = keys[1:]
    return ' '.join(keys) if keys else 'its top'
