# As default_runtime.py, for runs that are counted in iterations, in the scope of mmsegmentation.
default_scope = 'mmseg'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mmbeitv2.AtomicCheckpointHook', by_epoch=False, interval=16000, max_keep_ckpts=3, save_best='mIoU'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
custom_hooks = [
    dict(type='mmbeitv2.ResumeGuardHook'),
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.ThroughputHook'),
]
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
