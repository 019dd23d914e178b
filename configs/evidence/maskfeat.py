# MaskFeat of mmpretrain (Wei et al. 2022) for the study of docs/evidence.md: HOG features of 14 of 36 patches.
_base_ = [
    '../_base_/evidence/training.py',
    '../_base_/evidence/adamw.py',
]
model = dict(
    type='MaskFeat',
    backbone=dict(
        type='mmbeitv2.NarrowMaskFeatViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        init_cfg=_base_.initial,
    ),
    neck=dict(
        type='LinearNeck',
        in_channels=128,
        out_channels=108,
        norm_cfg=None,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0),
    ),
    head=dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
    target_generator=dict(type='mmbeitv2.GridHOGGenerator', grid=6, nbins=9, pool=4, gaussian_window=16),
)
train_dataloader = dict(
    dataset=dict(
        **_base_.images,
        pipeline=[
            *_base_.load,
            _base_.crop,
            _base_.flip,
            dict(type='BEiTMaskGenerator', input_size=6, num_masking_patches=14, min_num_patches=4),
            dict(type='PackInputs'),
        ],
    )
)
