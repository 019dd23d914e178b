# VQ-KD (paper, table 8) of six bands, whose teacher, a MobileNetV2 with ImageNet weights, sees three of them as RGB.
_base_ = ['../quickstart/tokenizer.py', '../_base_/datasets/multispectral.py']
model = dict(
    encoder=dict(in_channels=6),
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **files))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline, **files))
