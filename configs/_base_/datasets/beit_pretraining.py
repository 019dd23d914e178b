# BEiT (Bao et al. 2021), table 10: as imagenet_pretraining.py with crops of 0.08 to 1 of the image.
_base_ = 'imagenet_pretraining.py'
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=14, num_masked=75, min_block=16),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
