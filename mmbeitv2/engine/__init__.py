"""Optimizer constructors, hooks and strategies."""

from mmbeitv2.engine.layer_decay import LayerDecayOptimWrapperConstructor
from mmbeitv2.engine.monitoring import CodebookHook, NonFiniteLossHook, ThroughputHook, unwrapped
from mmbeitv2.engine.no_optimizer import NoOptimizer
from mmbeitv2.engine.resume_guard import ResumeGuardHook, guard_resume
from mmbeitv2.engine.resuming import AtomicCheckpointHook, SeedStepHook, prepare_resume
from mmbeitv2.engine.scoring import KNNHook
from mmbeitv2.engine.sharding import FullyShardStrategy

__all__ = [
    'AtomicCheckpointHook',
    'CodebookHook',
    'FullyShardStrategy',
    'KNNHook',
    'LayerDecayOptimWrapperConstructor',
    'NoOptimizer',
    'NonFiniteLossHook',
    'ResumeGuardHook',
    'SeedStepHook',
    'ThroughputHook',
    'guard_resume',
    'prepare_resume',
    'unwrapped',
]
