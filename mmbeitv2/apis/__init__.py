"""The public functions and classes. A name is only imported when it is used, so that ``--help`` does not wait for
torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmbeitv2.zoo import describe_model, list_models

    from .config import read_config
    from .loading import load_model
    from .visual_tokenizer import VisualTokenizer

__all__ = ['VisualTokenizer', 'describe_model', 'list_models', 'load_model', 'read_config']


def __getattr__(name: str) -> object:
    homes = {
        'VisualTokenizer': '.visual_tokenizer',
        'describe_model': 'mmbeitv2.zoo',
        'list_models': 'mmbeitv2.zoo',
        'load_model': '.loading',
        'read_config': '.config',
    }
    if name not in homes:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(homes[name], __name__), name)
