# The control of finetune.py: the same model, data and schedule from random weights.
_base_ = 'finetune.py'
model = dict(backbone=dict(init_cfg=None))
