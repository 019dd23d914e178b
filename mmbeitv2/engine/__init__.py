"""Optimizer constructors, hooks and strategies."""

from .dense_knn import PatchKNNHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .monitoring import CodebookHook, NonFiniteLossHook, RunSummaryHook, ThroughputHook, unwrapped
from .no_optimizer import NoOptimizer
from .resume_guard import ResumeGuardHook, guard_resume
from .resuming import AtomicCheckpointHook, SeedStepHook, prepare_resume
from .scoring import KNNHook
from .sharding import FullyShardStrategy

__all__ = [
    'AtomicCheckpointHook',
    'CodebookHook',
    'FullyShardStrategy',
    'KNNHook',
    'LayerDecayOptimWrapperConstructor',
    'NoOptimizer',
    'NonFiniteLossHook',
    'PatchKNNHook',
    'ResumeGuardHook',
    'RunSummaryHook',
    'SeedStepHook',
    'ThroughputHook',
    'guard_resume',
    'prepare_resume',
    'unwrapped',
]
