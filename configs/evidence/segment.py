# UperNet (paper, table 11) on CamVid for the study of docs/evidence.md: images of 240x180 pixels, 128x128 crops, of the
# ViTs of this package.
_base_ = '../_base_/evidence.py'
default_scope = 'mmseg'
classes = (
    'sky',
    'building',
    'pole',
    'road',
    'pavement',
    'tree',
    'sign',
    'fence',
    'car',
    'pedestrian',
    'bicyclist',
)
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(in_index=2, num_classes=11, channels=64, norm_cfg=norm_cfg, align_corners=False, dropout_ratio=0.1)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(128, 128),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=128,
        patch_size=8,
        out_indices=(1, 2, 3, 5),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0,
        init_cfg=dict(
            type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/evidence/cpu/beitv2/seed_0/iter_2000.pth'
        ),
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=128, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
    decode_head=dict(
        **{**head, 'in_index': [0, 1, 2, 3]},
        type='mmbeitv2.EfficientUPerHead',
        in_channels=[128] * 4,
        pool_scales=(1, 2, 3, 6),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        **head,
        type='FCNHead',
        in_channels=128,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(128, 128), stride=(112, 112)),
)
dataset = dict(type='mmbeitv2.SegFolder', data_root='data/camvid', classes=classes, ignored_labels=[11])
train_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        _delete_=True,
        **dataset,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=[
            *_base_.load,
            dict(type='mmbeitv2.LoadSegLabels', num_classes=11),
            dict(type='RandomResize', scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(128, 128), cat_max_ratio=0.75),
            dict(type='mmseg.RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        test_mode=True,
        data_prefix=dict(img_path='images/test', seg_map_path='annotations/test'),
        pipeline=[
            *_base_.load[1:],
            dict(type='Resize', scale=(240, 180), keep_ratio=True),
            dict(type='mmbeitv2.LoadSegLabels', num_classes=11),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)), paramwise_cfg=dict(layer_decay_rate=0.8))
visualizer = dict(type='SegLocalVisualizer', name='visualizer')
