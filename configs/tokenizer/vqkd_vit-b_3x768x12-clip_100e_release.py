# The recipe of the released tokenizer (reference, TOKENIZER.md) where it differs from table 8: 10 epochs of warm-up
# instead of 5, and a score after every epoch, on the middle 224 pixels of images resized to 256.
_base_ = [
    '../_base_/models/vqkd-clip_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=256),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=90, by_epoch=True, begin=10, end=100, convert_to_iter_based=True
    ),
]
train_cfg = dict(val_interval=1)
