# Paper, table 5: patch aggregation by 3 blocks instead of 2.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(neck=dict(depth=3))
