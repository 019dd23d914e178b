# VQ-KD (paper, table 8) small enough for a CPU: 128x128 crops of photographs as CamVid's, a ViT of width 128 and
# depth 4, 128 codes. The teacher is a MobileNetV2 of timm with ImageNet weights, its map of stride 16, one feature for
# each patch: by nearest patches it tells CamVid's classes better than the last map (docs/benchmarks.md).
_base_ = [
    '../_base_/models/vqkd_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_adamw.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=128),
    quantizer=dict(num_codes=128, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=8),
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=128, out_index=3),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    # A crop of 0.15 to 0.75 of a 480x360 image has a side of 160 to 360 pixels.
    dict(type='mmbeitv2.RandomResizedCrop', scale=128, crop_ratio_range=(0.15, 0.75)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=128),
    dict(type='PackInputs'),
]
data_root = 'data/camvid/images'
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, data_prefix='training', pipeline=train_pipeline),
)
test_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, data_prefix='validation', pipeline=val_pipeline)
)
test_evaluator = dict(num_codes=128)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=150, by_epoch=False, begin=50, end=200),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=200, save_best=None, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
