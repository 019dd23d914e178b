from __future__ import annotations

from .mim_head import BEiTv2MIMHead

__all__ = ['BEiTv2MIMHead']
