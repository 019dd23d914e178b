# Paper, table 5: patch aggregation by 3 blocks instead of 2.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(neck=dict(depth=3))
