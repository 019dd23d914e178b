# A small ViT in the place of the paper's: l = 4 of 6 layers.
_base_ = '../models/pretraining_vit-b.py'
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=48,
        patch_size=8,
        out_indices=(3, 5),  # layers l and L, counted from 0
        layer_scale_init_value=0,
        # The release's rule suits a width of 768.
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Normal', layer='Conv2d', std=0.3),
        ],
    ),
    neck=dict(depth=1, init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
)
