# Paper, table 11, at the size of the sample set: 56x56 crops, so the 6x6 grid of pretraining is resized to 7x7.
_base_ = '../segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
shapes = (
    'arrow',
    'crescent',
    'cross',
    'disc',
    'flower',
    'heart',
    'hexagon',
    'ring',
    'square',
    'star',
    'tree',
    'triangle',
)
classes = (*shapes, 'brick', 'grass', 'sand', 'water', 'wood')
model = dict(
    data_preprocessor=dict(size=(56, 56)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=128, depth=4, num_heads=4),
        img_size=56,
        patch_size=8,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(checkpoint='work_dirs/quickstart/pretrain/epoch_5.pth'),
    ),
    neck=dict(embed_dim=128),
    decode_head=dict(in_channels=[128] * 4, channels=64, num_classes=len(classes)),
    auxiliary_head=dict(in_channels=128, channels=64, num_classes=len(classes)),
    test_cfg=dict(crop_size=(56, 56), stride=(37, 37)),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.LoadSegLabels', num_classes=len(classes)),
    dict(type='RandomResize', scale=(2048, 56), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(56, 56), cat_max_ratio=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='Resize', scale=(2048, 56), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmbeitv2', num_classes=len(classes)),
    dict(type='PackSegInputs'),
]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1]['transforms'][0] = [dict(type='Resize', scale=(2048, x), keep_ratio=True) for x in (28, 56, 84)]
# mmseg's ADE20KDataset allows no other classes than its own; this one reads the same layout.
dataset = dict(
    type='BaseSegDataset',
    data_root='work_dirs/quickstart/sample/ade20k',
    metainfo=dict(classes=classes, palette=[[37 * i % 256, 91 * i % 256, 173 * i % 256] for i in range(1, 18)]),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    reduce_zero_label=True,
)
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(**dataset, pipeline=train_pipeline))
test_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(**dataset, pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=5e-3), paramwise_cfg=dict(layer_decay_rate=0.4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=20, end=300),
]
train_cfg = dict(max_iters=300)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=300, save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
