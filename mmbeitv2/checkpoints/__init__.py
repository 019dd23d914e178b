from __future__ import annotations

from .pretrained import PretrainedBEiTv2
from .reading import Checkpoint, load_exactly, read_checkpoint, require_fit

__all__ = ['Checkpoint', 'PretrainedBEiTv2', 'load_exactly', 'read_checkpoint', 'require_fit']
