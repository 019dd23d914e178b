# The control of segment.py: the same model, data and schedule from random weights. The learning rate, the best of 1e-3,
# 2e-3 and 4e-3 (mIoU 28.4, 31.9 and 30.2, seed 0), is that of segment.py, too.
_base_ = ['../_base_/segmentation.py', '../_base_/small_init.py']
model = dict(backbone=dict(init_cfg=_base_.small_init))
