# As segment.py, of a small DINOv3 of timm.
_base_ = [
    '../_base_/evidence/upernet.py',
    '../_base_/evidence/segmentation.py',
]
model = dict(
    backbone=dict(
        type='mmbeitv2.TimmViT',
        model='vit_small_patch16_dinov3',
        embed_dim=128,
        depth=6,
        num_heads=4,
        init_values=None,  # no layer scale
        img_size=128,
        patch_size=8,
        out_indices=(1, 2, 3, 5),
        out_type='featmap',
        final_norm='none',
    )
)
