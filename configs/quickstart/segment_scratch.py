# The control of segment.py: the same model, data and schedule from random weights.
_base_ = 'segment.py'
model = dict(backbone=dict(init_cfg=None))
