# As finetune.py, from random weights.
_base_ = '../_base_/evidence/finetuning.py'
model = dict(
    backbone=dict(
        **_base_.vit,
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Normal', layer='Conv2d', std=0.3),
        ],
    )
)
