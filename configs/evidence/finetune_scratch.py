# As finetune.py, from random weights.
_base_ = '../_base_/evidence/finetuning.py'
model = dict(
    backbone=dict(
        **_base_.vit,
        init_cfg=_base_.initial,
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
