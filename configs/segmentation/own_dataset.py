# Your own images: UperNet on the released ViT-B/16, as in the paper's table 11, for 20k iterations; batch 8 on 1 GPU.
#
#   python tools/train.py configs/segmentation/own_dataset.py --cfg-options \
#       model.decode_head.num_classes=11 model.auxiliary_head.num_classes=11
#
# data/own (a folder or a link) holds classes.txt (one name a line, the first line is class 0), images/{train,val},
# and labels/{train,val} with PNGs of one channel, in which 255 means "ignored". docs/guides/segment.md explains every
# setting, and what to do with colors.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
data_root = 'data/own'
num_classes = 2  # as many as classes.txt has lines
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
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
optim_wrapper = dict(optimizer=dict(lr=4e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=500, end=20000),
]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
auto_scale_lr = dict(base_batch_size=8)
