"""Optimizer constructors and hooks."""

from .hooks import CodebookHook, NonFiniteLossHook
from .layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['CodebookHook', 'LayerDecayOptimWrapperConstructor', 'NonFiniteLossHook']
