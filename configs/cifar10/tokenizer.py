# VQ-KD (paper, table 8) small enough for a CPU: CIFAR-10 at 48x48 pixels with 36 patches, 512 codes. The teacher is a
# MobileNetV2 of timm with ImageNet weights, its map of stride 16 at 96 pixels, one feature for each patch.
_base_ = [
    '../_base_/models/vqkd_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=48, patch_size=8),
    quantizer=dict(num_codes=512, code_dim=16, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
data_root = 'data/cifar10'
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=val_pipeline))
test_evaluator = dict(num_codes=512)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=200, by_epoch=False, begin=50, end=250),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=250)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=250, save_best=None, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
