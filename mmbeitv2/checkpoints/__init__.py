from __future__ import annotations

from .pretrained import PretrainedBEiTv2
from .reading import Checkpoint, check_fits, read_checkpoint

__all__ = ['Checkpoint', 'PretrainedBEiTv2', 'check_fits', 'read_checkpoint']
