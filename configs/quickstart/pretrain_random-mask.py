# Ours, at small size: single patches masked at random instead of blocks.
_base_ = 'pretrain.py'
train_pipeline = _base_.train_pipeline
train_pipeline[-2] = dict(type='mmbeitv2.RandomMaskGenerator', grid_size=6, num_masked=14)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
