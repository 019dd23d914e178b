# Paper, table 5: a norm and a linear layer of its own for the aggregated branch.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(neck=dict(shared_head=False), head=dict(shared_head=False))
