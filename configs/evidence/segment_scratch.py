# As segment.py, from random weights.
_base_ = [
    '../_base_/evidence/upernet.py',
    '../_base_/evidence/segmentation.py',
]
model = dict(
    backbone=dict(
        **_base_.vit,
        init_cfg=_base_.initial,
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
