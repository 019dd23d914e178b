# Fine-tuning at the size of the sample set: a fifth of the labels, no mixing or RandAugment in so few steps. The
# inheriting config sets the initial weights and the learning rate.
_base_ = [
    '../../../configs/_base_/datasets/finetuning.py',
    '../../../configs/_base_/schedules/finetuning_100e.py',
    '../../../configs/_base_/classification_runtime.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=192, depth=3, num_heads=6),
        img_size=48,
        patch_size=8,
        out_type='avg_featmap',
        final_norm='fc_norm',
        use_abs_pos_emb=True,
        rel_pos_bias='per_layer',
        layer_scale_init_value=0,
        drop_path_rate=0.1,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=12,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02 * 0.001, a=-0.002, b=0.002),
    ),
    train_cfg=dict(),
)
data_preprocessor = dict(num_classes=12)
resize = dict(type='mmbeitv2.FitImage', scale=56, fit='stretch')
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    resize,
    dict(type='RandomCrop', crop_size=48),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    resize,
    dict(type='CenterCrop', crop_size=48),
    dict(type='PackInputs'),
]
data_root = 'work_dirs/quickstart/sample/imagenet'
dataset = dict(type='mmbeitv2.ImageFolder', data_root=data_root, with_label=True)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(**dataset, data_prefix='train', ann_file='labeled.txt', pipeline=train_pipeline),
)
test_dataloader = dict(num_workers=1, dataset=dict(**dataset, data_prefix='val', pipeline=test_pipeline))
test_evaluator = dict(topk=(1,))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=2e-3, T_max=3, begin=1, end=4, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
