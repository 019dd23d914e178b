# As segment.py, of the ViTs of mmpretrain.
_base_ = [
    '../_base_/evidence/upernet.py',
    '../_base_/evidence/segmentation.py',
]
model = dict(
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=128,
        patch_size=8,
        out_indices=(1, 2, 3, 5),
        out_type='featmap',
        final_norm=False,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/evidence/cpu/mae/full/pretrain/iter_2000.pth', prefix='backbone.'
        ),
    )
)
