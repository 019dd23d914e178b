# Paper, table 5: patch aggregation from layer 11 instead of 9.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(backbone=dict(out_indices=(10, 11)))
