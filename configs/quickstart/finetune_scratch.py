# The control of finetune.py: the same model, data and schedule from random weights.
_base_ = 'finetune.py'
small_init = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Normal', layer='Conv2d', std=0.3),  # the patch embedding
]
model = dict(backbone=dict(init_cfg=small_init))
