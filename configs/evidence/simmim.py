# SimMIM of mmpretrain (Xie et al. 2022) for the study of docs/evidence.md, on mmpretrain's ViT instead of a Swin:
# 22 of 36 patches masked, L1 of their pixels.
_base_ = [
    '../_base_/evidence/training.py',
    '../_base_/evidence/adamw.py',
]
model = dict(
    type='SimMIM',
    backbone=dict(
        type='mmbeitv2.SimMIMViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        init_cfg=_base_.initial,
    ),
    neck=dict(type='SimMIMLinearDecoder', in_channels=128, encoder_stride=8),
    head=dict(
        type='SimMIMHead',
        patch_size=8,
        loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3),
    ),
)
train_dataloader = dict(
    dataset=dict(
        **_base_.images,
        pipeline=[
            *_base_.load,
            _base_.crop,
            _base_.flip,
            dict(type='SimMIMMaskGenerator', input_size=48, mask_patch_size=8, model_patch_size=8, mask_ratio=0.6),
            dict(type='PackInputs'),
        ],
    )
)
