"""Optimizer constructors and hooks."""

from .layer_decay import LayerDecayOptimWrapperConstructor
from .monitoring import CodebookHook, KNNHook, NonFiniteLossHook, ThroughputHook, unwrapped
from .resuming import AtomicCheckpointHook, SeedStepHook

__all__ = [
    'AtomicCheckpointHook',
    'CodebookHook',
    'KNNHook',
    'LayerDecayOptimWrapperConstructor',
    'NonFiniteLossHook',
    'SeedStepHook',
    'ThroughputHook',
    'unwrapped',
]
