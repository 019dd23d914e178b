# MoCo v3 of mmpretrain (Chen et al. 2021) for the study of docs/evidence.md, with narrower projections.
_base_ = [
    '../_base_/evidence/training.py',
    '../_base_/evidence/adamw.py',
]
temperature = 0.2
projection = dict(
    type='NonLinearNeck',
    hid_channels=512,
    out_channels=128,
    with_bias=False,
    with_last_bn=True,
    with_last_bn_affine=False,
    with_last_bias=False,
    with_avg_pool=False,
)
model = dict(
    type='MoCoV3',
    base_momentum=0.01,
    backbone=dict(
        type='MoCoV3ViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        stop_grad_conv1=True,
    ),
    neck=dict(**projection, in_channels=128, num_layers=3),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(**projection, in_channels=128, num_layers=2),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature,
    ),
)
view = [
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
    dict(
        type='RandomApply',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
    dict(type='RandomFlip', prob=0.5),
]
train_dataloader = dict(
    dataset=dict(
        **_base_.images,
        pipeline=[
            *_base_.load,
            dict(type='MultiView', num_views=[2], transforms=[view]),
            dict(type='PackInputs'),
        ],
    )
)
find_unused_parameters = True
