"""Checkpoint files: reading, converting, and loading them into models."""

from __future__ import annotations

from .conversion import convert_checkpoint
from .formats import FORMATS
from .model_hub import register_published_models
from .pretrained import PretrainedBEiTv2
from .reading import Checkpoint, load_exactly, read_checkpoint, require_fit

__all__ = [
    'FORMATS',
    'Checkpoint',
    'PretrainedBEiTv2',
    'convert_checkpoint',
    'load_exactly',
    'read_checkpoint',
    'require_fit',
]

register_published_models()
