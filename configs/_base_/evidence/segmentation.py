# Segmentation of CamVid for the study of docs/evidence.md: images of 240x180 pixels, 128x128 crops. The inheriting
# config sets the model.
_base_ = ['training.py', 'adamw.py']
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
# The ViTs of this package.
vit = dict(
    type='mmbeitv2.BEiTv2ViT',
    arch=dict(embed_dims=128, depth=6, num_heads=4),
    img_size=128,
    patch_size=8,
    out_indices=(1, 2, 3, 5),
    out_type='featmap',
    final_norm='none',
    rel_pos_bias='per_layer',
    layer_scale_init_value=0,
    drop_path_rate=0.0,
)
dataset = dict(type='mmbeitv2.SegFolder', data_root='data/camvid', classes=classes, ignored_labels=[11])
train_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
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
            dict(type='mmbeitv2.LoadImage'),
            dict(type='Resize', scale=(240, 180), keep_ratio=True),
            dict(type='mmbeitv2.LoadSegLabels', num_classes=11),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
val_cfg = dict()
test_dataloader, test_evaluator, test_cfg = val_dataloader, val_evaluator, dict()  # tools/test.py, tools/predict.py
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)), paramwise_cfg=dict(layer_decay_rate=0.8))
visualizer = dict(type='SegLocalVisualizer', name='visualizer')
