"""Reads files of tensors and plain data (numbers, text, dates, paths, containers, arrays); no code in a file is run.

torch's restricted unpickler refuses every class and function that is not on its list. This module lends it a longer
list, for the length of a read: types that only hold data, and stand-ins for NumPy's types and mmengine's history of the
log, whose own ways of unpickling would take more from a file than data.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import math
import os
import pathlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from safetensors.torch import load_file

from mmbeitv2.errors import InputError


class _Dtype:
    """Stands in for ``numpy.dtype``: any type of numbers, texts and times, and objects, which are data of this list
    too; but no structures."""

    def __init__(self, name: Any, *_: object) -> None:
        self.value = np.dtype(name)
        if self.value.kind not in 'biufcSUmMO' or self.value.subdtype:
            raise InputError(f'it holds an array of type {name!r}, but only numbers, texts and times are loaded')

    def __setstate__(self, state: tuple) -> None:
        if any(field is not None for field in state[2:5]):  # sub-arrays, names and fields
            raise InputError('it holds an array of structures, but only numbers, texts and times are loaded')
        if self.value.kind in 'mM':
            unit, count = state[8][1][:2]
            self.value = np.dtype(f'{self.value.kind}8[{count}{unit.decode()}]')
        self.value = self.value.newbyteorder(state[1])

    def __reduce__(self) -> tuple:
        return np.dtype, (self.value.str,)


class _Array(np.ndarray):
    """Stands in for ``numpy.ndarray``, and for the function that makes an empty one to be filled."""

    def __new__(cls, *_: object) -> _Array:
        return np.empty(0).view(cls)

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, is_fortran, data = state
        if dtype.value.kind == 'O' and not (isinstance(data, list) and len(data) == math.prod(shape)):
            raise InputError('it holds an array of objects that is damaged')
        super().__setstate__((version, shape, dtype.value, is_fortran, data))

    def __reduce__(self) -> Any:  # as an array of NumPy's own
        return np.asarray(self).__reduce__()


class _History(HistoryBuffer):
    """Becomes mmengine's ``HistoryBuffer``, without the functions that its file asks for."""

    def __setstate__(self, state: dict) -> None:
        self.__class__ = HistoryBuffer
        log, count = (np.asarray(state[key]) for key in ('_log_history', '_count_history'))
        HistoryBuffer.__init__(self, log, count, state['max_length'])


def _scalar(dtype: _Dtype, data: Any) -> Any:
    if dtype.value.kind == 'O':  # whose bytes are addresses
        raise InputError('it holds a number of type object, but only numbers, texts and times are loaded')
    return np.ndarray((), dtype.value, data).copy()[()]


def _getattr(owner: object, name: object) -> None:
    """Stands in for ``getattr``, by which a history names its own methods; they are not taken from a file."""
    if owner is not _History:
        raise InputError(f'it asks for the attribute {name!r} of {owner!r}, but only tensors and plain data are loaded')


_SAFE: list[Callable | tuple[Callable, str]] = [
    *(list, dict, tuple, int, float, bool, str, bytes, frozenset, slice, range),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
    *((pathlib.PurePath, f'pathlib.{pure}{system}Path') for pure in ('', 'Pure') for system in ('Posix', 'Windows')),
    *(argparse.Namespace, Config, ConfigDict, torch.torch_version.TorchVersion),
    (lambda *_: {}, 'collections.defaultdict'),
    (_getattr, 'builtins.getattr'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    *((_Array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]


def read_file(path: str | Path, map_location: Any = 'cpu') -> Any:
    """The content of a file that torch or safetensors wrote, tensors and plain data only.

    Args:
        path: the file, or a folder with a ``model.safetensors``, as Hugging Face's ``save_pretrained`` writes it.
        map_location: see ``torch.load``.

    Raises:
        InputError: if the file does not exist, is damaged, or refers to a class or a function.
    """
    file = existing_file(path)
    try:
        if file.suffix == '.safetensors':
            return load_file(file, str(map_location) if isinstance(map_location, str | torch.device) else 'cpu')
        with torch.serialization.safe_globals(_SAFE):
            return torch.load(file, map_location=map_location, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers raise
        raise InputError(f'checkpoint {str(path)!r} cannot be used: {_reason(error)}') from error


def existing_file(path: str | Path) -> Path:
    """The file of a checkpoint, which may be given as the folder of ``save_pretrained``.

    Raises:
        InputError: if there is none.
    """
    file = Path(os.path.expanduser(path))
    if os.path.isdir(file):
        file = file / 'model.safetensors'
    if not os.path.isfile(file):  # unlike Path's own, false for names that no file can have
        raise InputError(f'checkpoint {str(file)!r} not found. Check the path.')
    return file


def is_cut_off(file: Path) -> bool:
    """Whether the end of a ``torch.save`` file is missing, as after an interrupted copy."""
    with file.open('rb') as stream:
        stream.seek(-min(file.stat().st_size, 1 << 16), os.SEEK_END)
        return b'PK\5\6' not in stream.read()  # the end of the directory of a zip archive


def _reason(error: Exception) -> str:
    """Why a file cannot be read, and what to do."""
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:  # of a seek in a short file
        return error.strerror
    if isinstance(error, InputError):
        return str(error)
    if found := re.search(r'GLOBAL (\S+?),? ', str(error)):
        return (
            f'it refers to {found[1]}, but only tensors and plain data are loaded, so that no file can run code. '
            'Save only its state dict with torch.save or safetensors, on the machine where it was made.'
        )
    return 'it is damaged or truncated, or was not written by torch.save or safetensors. Copy or download it again.'
