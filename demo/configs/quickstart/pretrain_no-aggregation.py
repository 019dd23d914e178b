# Paper, table 5, at small size: without patch aggregation.
_base_ = 'pretrain.py'
model = dict(backbone=dict(out_indices=(2,)), neck=None)
