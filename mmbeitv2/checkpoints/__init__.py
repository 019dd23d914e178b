"""Checkpoint files: reading, converting, and loading them into models."""

from __future__ import annotations

from mmbeitv2.checkpoints.conversion import convert_checkpoint
from mmbeitv2.checkpoints.formats import FORMATS
from mmbeitv2.checkpoints.lending import loading_tensors_only
from mmbeitv2.checkpoints.model_hub import register_published_models
from mmbeitv2.checkpoints.pretrained import PretrainedBEiTv2
from mmbeitv2.checkpoints.reading import Checkpoint, read_checkpoint, require_fit

__all__ = [
    'FORMATS',
    'Checkpoint',
    'PretrainedBEiTv2',
    'convert_checkpoint',
    'loading_tensors_only',
    'read_checkpoint',
    'register_published_models',
    'require_fit',
]
