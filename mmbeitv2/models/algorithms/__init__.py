from __future__ import annotations

from .beitv2 import BEiTv2

__all__ = ['BEiTv2']
