# Ours: single patches masked at random instead of blocks.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
mask = dict(type='mmbeitv2.RandomMaskGenerator', grid_size=14, num_masked=75)
train_pipeline = [*_base_.crop_and_jitter, mask, _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
