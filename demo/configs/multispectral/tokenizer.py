# VQ-KD (paper, table 8) of six bands, whose teacher, a MobileNetV2 with ImageNet weights, sees three of them as RGB.
_base_ = [
    '../../../configs/_base_/models/vqkd_vit-b.py',
    '../../../configs/_base_/datasets/imagenet_tokenizer.py',
    '../../../configs/_base_/schedules/vqkd_100e.py',
    '../../../configs/_base_/tokenizer_runtime.py',
    'bands.py',
]
model = dict(
    encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=48, patch_size=8, in_channels=6),
    quantizer=dict(num_codes=256, code_dim=16, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
    teacher=dict(
        _delete_=True, type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3
    ),
    teacher_channels=_base_.color_channels,
    # The range of each channel becomes [-1, 1].
    data_preprocessor=dict(mean=_base_.channel_mean, std=[2 * std for std in _base_.channel_std], to_rgb=False),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    _base_.load_channels,
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    _base_.load_channels,
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
data_root = 'work_dirs/multispectral/data'
files = dict(data_root=data_root, extensions=('.npy',))
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(pipeline=train_pipeline, **files))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=val_pipeline, **files))
test_evaluator = dict(num_codes=256)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=2.5, by_epoch=True, begin=0.5, end=3, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=3)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
