"""Optimizer constructors, hooks and strategies."""

from .layer_decay import LayerDecayOptimWrapperConstructor
from .monitoring import CodebookHook, KNNHook, NonFiniteLossHook, RunSummaryHook, ThroughputHook, unwrapped
from .resuming import AtomicCheckpointHook, SeedStepHook
from .sharding import FullyShardStrategy

__all__ = [
    'AtomicCheckpointHook',
    'CodebookHook',
    'FullyShardStrategy',
    'KNNHook',
    'LayerDecayOptimWrapperConstructor',
    'NonFiniteLossHook',
    'RunSummaryHook',
    'SeedStepHook',
    'ThroughputHook',
    'unwrapped',
]
