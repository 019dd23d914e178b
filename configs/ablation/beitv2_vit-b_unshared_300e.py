# Paper, table 5: a norm and a linear layer of its own for the aggregated branch.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(neck=dict(shared_head=False), head=dict(shared_head=False))
