# BEiT v2 (paper, table 9) small enough for a CPU: a wide and shallow ViT, the codes of tokenizer.py. 14 of 36 patches
# are masked, single ones at random.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/cifar10_pretraining.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=192, depth=3, num_heads=6),
        img_size=48,
        patch_size=8,
        out_indices=(1, 2),
        layer_scale_init_value=0,
    ),
    tokenizer=dict(
        encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=48, patch_size=8),
        quantizer=dict(num_codes=512, code_dim=16),
        decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/cifar10/tokenizer/iter_250.pth'),
    ),
)
