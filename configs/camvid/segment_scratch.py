# The control of segment.py: the same model, data and schedule from random weights, all layers at the full rate.
_base_ = [
    '../_base_/models/upernet_camvid.py',
    '../_base_/camvid_segmentation.py',
]
model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
