"""Frozen networks whose patch features are distilled."""

from .teachers import FrozenTeacher, OpenCLIPTeacher, TimmTeacher

__all__ = ['FrozenTeacher', 'OpenCLIPTeacher', 'TimmTeacher']
