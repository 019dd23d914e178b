# Ours: single patches masked at random instead of blocks.
_base_ = '../beitv2_vit-b_300e.py'
train_pipeline = _base_.train_pipeline
train_pipeline[-2] = dict(type='mmbeitv2.RandomMaskGenerator', grid_size=14, num_masked=75)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
