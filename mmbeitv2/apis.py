"""The public functions and classes. A name is only imported when it is used, so that ``--help`` does not wait for
torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmbeitv2.checkpoints.model_hub import register_published_models
    from mmbeitv2.checkpoints.zoo import describe_model, list_models
    from mmbeitv2.inference.config import read_config
    from mmbeitv2.inference.loading import load_model
    from mmbeitv2.inference.visual_tokenizer import VisualTokenizer

__all__ = ['VisualTokenizer', 'describe_model', 'list_models', 'load_model', 'read_config', 'register_published_models']

_HOMES = {
    'VisualTokenizer': 'inference.visual_tokenizer',
    'describe_model': 'checkpoints.zoo',
    'list_models': 'checkpoints.zoo',
    'load_model': 'inference.loading',
    'read_config': 'inference.config',
    'register_published_models': 'checkpoints.model_hub',
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'mmbeitv2.{_HOMES[name]}'), name)
