# As default_runtime.py, for tokenizers: logs and scores the use of the codebook.
default_scope = 'mmpretrain'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.ThroughputHook'),
    dict(type='mmbeitv2.CodebookHook'),
]
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
val_evaluator = dict(type='mmbeitv2.CodebookMetric')
test_evaluator = val_evaluator
