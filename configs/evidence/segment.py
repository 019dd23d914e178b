# UperNet (paper, table 11) on CamVid for the study of docs/evidence.md: images of 240x180 pixels, 128x128 crops, of the
# ViTs of this package.
_base_ = ['../_base_/models/upernet_vit-b.py', '../_base_/evidence.py']
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
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=128,
        patch_size=8,
        out_indices=(1, 2, 3, 5),
        layer_scale_init_value=0,
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='work_dirs/evidence/cpu/beitv2/seed_0/iter_2000.pth'),
    ),
    neck=dict(embed_dim=128, rescales=[2, 1, 0.5, 0.25]),
    decode_head=dict(in_channels=[128] * 4, channels=64, num_classes=11),
    auxiliary_head=dict(in_channels=128, channels=64, num_classes=11),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
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
