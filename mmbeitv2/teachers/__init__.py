"""Frozen networks whose patch features are distilled."""

from .base import FrozenTeacher, check_color_channels
from .hugging_face import HuggingFaceTeacher
from .open_clip import OpenCLIPTeacher
from .standardization import Standardization
from .timm import TimmTeacher

__all__ = [
    'FrozenTeacher',
    'HuggingFaceTeacher',
    'OpenCLIPTeacher',
    'Standardization',
    'TimmTeacher',
    'check_color_channels',
]
