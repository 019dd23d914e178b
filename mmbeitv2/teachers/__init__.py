"""Frozen networks whose patch features are distilled."""

from .base import FrozenTeacher, check_color_channels
from .hugging_face import HuggingFaceTeacher
from .open_clip import OpenCLIPTeacher
from .timm import TimmTeacher

__all__ = ['FrozenTeacher', 'HuggingFaceTeacher', 'OpenCLIPTeacher', 'TimmTeacher', 'check_color_channels']
