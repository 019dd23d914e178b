# Fine-tuning (paper, table 10) on six bands: the class is what an object is made of, which no visible band shows.
_base_ = [
    '../../../configs/_base_/models/classifier_vit-b.py',
    '../../../configs/_base_/datasets/imagenet_finetuning.py',
    '../../../configs/_base_/schedules/finetuning_100e.py',
    '../../../configs/_base_/classification_runtime.py',
    'bands.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, depth=4, num_heads=4),
        img_size=48,
        patch_size=8,
        in_channels=6,
        init_cfg=dict(checkpoint='work_dirs/multispectral/pretrain/epoch_5.pth'),
    ),
    head=dict(num_classes=9, in_channels=128),
    train_cfg=dict(_delete_=True),
)
data_preprocessor = dict(num_classes=9, mean=_base_.channel_mean, std=_base_.channel_std, to_rgb=False)
resize = dict(type='mmbeitv2.FitImage', scale=56, fit='stretch')
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    _base_.load_channels,
    resize,
    dict(type='RandomCrop', crop_size=48),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [_base_.load_channels, resize, dict(type='CenterCrop', crop_size=48), dict(type='PackInputs')]
data_root = 'work_dirs/multispectral/data'
dataset = dict(_delete_=True, type='mmbeitv2.ImageFolder', data_root=data_root, with_label=True, extensions=('.npy',))
train_dataloader = dict(
    batch_size=32, num_workers=1, dataset=dict(**dataset, data_prefix='train', ann_file='', pipeline=train_pipeline)
)
test_dataloader = dict(num_workers=1, dataset=dict(**dataset, data_prefix='val', pipeline=test_pipeline))
test_evaluator = dict(topk=(1,))
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=2e-3, T_max=5, begin=1, end=6, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
