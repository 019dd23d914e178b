# Ours: what every training of the study of docs/evidence.md has in common. Images of 48x48 pixels, 36 patches of 8x8.
# tools/evidence.py sets the length.
custom_imports = dict(imports=['mmbeitv2_tools.evidence.parts'])
default_scope = 'mmpretrain'
# A MobileNetV2 of timm with ImageNet weights, its map of stride 16 at 96 pixels.
teacher = dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3)
load = [dict(type='mmbeitv2.SeedSample'), dict(type='mmbeitv2.LoadImage')]
crop = dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0))
flip = dict(type='RandomFlip', prob=0.5)
# Initial weights of a ViT: rules of ImageNet's sizes suit a width of 768.
initial = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Normal', layer='Conv2d', std=0.3),
]
images = dict(type='mmbeitv2.ImageFolder', data_root='data/cifar10', data_prefix='train')
train_pipeline = [*load, crop, flip, dict(type='PackInputs')]
# The inheriting config sets the dataset.
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    collate_fn=dict(type='default_collate'),
)
data_preprocessor = dict(
    type='SelfSupDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=2000)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    processor_time=dict(type='mmbeitv2.ProcessorTimeHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=250, max_keep_ckpts=1, by_epoch=False),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [dict(type='mmbeitv2.SeedStepHook'), dict(type='mmbeitv2.NonFiniteLossHook')]
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
