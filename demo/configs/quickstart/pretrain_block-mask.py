# Paper, table 9, at small size: patches masked in blocks of at least 4, as at full size, instead of single ones.
_base_ = 'pretrain.py'
mask = dict(type='mmbeitv2.BlockMaskGenerator', grid_size=6, num_masked=14, min_block=4)
train_pipeline = [*_base_.crop, mask, _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
