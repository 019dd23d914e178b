# As finetune.py, from random weights.
_base_ = './finetune.py'
model = dict(
    backbone=dict(
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Normal', layer='Conv2d', std=0.3),
        ]
    )
)
