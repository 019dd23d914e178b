# The control of segment.py: the same model, data and schedule from random weights. The learning rate, the best of 1e-3,
# 2e-3 and 4e-3 (mIoU 28.4, 31.9 and 30.2, seed 0), is that of segment.py, too.
_base_ = 'segment.py'
small_init = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Normal', layer='Conv2d', std=0.3),  # the patch embedding
]
model = dict(backbone=dict(init_cfg=small_init))
