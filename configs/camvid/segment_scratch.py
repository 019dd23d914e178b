# The control of segment.py: the same model, data and schedule from random weights, all layers at the full rate.
_base_ = 'segment.py'
model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
