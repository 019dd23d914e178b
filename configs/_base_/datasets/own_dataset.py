# Your own images and label images (docs/guides/segment.md): data/own holds classes.txt, images/{train,val} and
# labels/{train,val}; augmented as in ade20k_512x512.py. Batch 8 on 1 GPU.
data_root = 'data/own'
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.LoadSegLabels'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    # The loaders of this package, by the names that OpenMMLab's inferencers look for.
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmbeitv2'),
    dict(type='PackSegInputs'),
]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(4 * side, side), keep_ratio=True) for side in (256, 384, 512, 640, 768, 896)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations', _scope_='mmbeitv2')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmbeitv2.SegFolder',
        data_root=data_root,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        label_table=None,  # or 'labels.txt', in place of classes.txt: lines "VALUE, CLASS" or "R G B, CLASS"
        reduce_zero_label=False,  # True: 0 means "ignored", and class 0 has the label 1
        ignored_labels=[],  # further values that mean "ignored"
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmbeitv2.SegFolder',
        data_root=data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        label_table=None,
        reduce_zero_label=False,
        ignored_labels=[],
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=8)
