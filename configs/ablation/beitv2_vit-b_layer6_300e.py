# Paper, table 5: patch aggregation from layer 6 instead of 9.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(out_indices=(5, 11)))
