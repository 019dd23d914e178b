# As ade20k_512x512.py with the 640x640 crops of BEiT; batch 16 on 8 GPUs.
_base_ = 'ade20k_512x512.py'
crop_size = (640, 640)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.LoadSegLabels', num_classes=150),
    dict(type='RandomResize', scale=(2560, 640), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    _base_.load_image,
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    _base_.load_labels,
    dict(type='PackSegInputs'),
]
# For --tta: mirror images and six ratios, as there.
tta_scales = [(1280, 320), (1920, 480), (2560, 640), (3200, 800), (3840, 960), (4480, 1120)]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [_base_.load_labels],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
