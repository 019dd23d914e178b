# The control of segment.py: the same model, data and schedule from random weights, all layers at the full rate.
_base_ = 'segment.py'
small_init = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Normal', layer='Conv2d', std=0.3),  # the patch embedding
]
model = dict(backbone=dict(init_cfg=small_init))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
