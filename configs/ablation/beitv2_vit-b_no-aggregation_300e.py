# Paper, table 5: without patch aggregation.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(backbone=dict(out_indices=(11,)), neck=None)
