"""Frozen networks whose patch features are distilled."""

from .base import FrozenTeacher, check_color_channels
from .open_clip import OpenCLIPTeacher
from .timm import TimmTeacher

__all__ = ['FrozenTeacher', 'OpenCLIPTeacher', 'TimmTeacher', 'check_color_channels']
