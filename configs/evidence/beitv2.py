# BEiT v2 (paper, section 2.3) for the study of docs/evidence.md: 14 of 36 patches masked, l = 4 of 6 layers.
_base_ = ['../_base_/models/beitv2_vit-b.py', '../_base_/evidence.py']
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=48,
        patch_size=8,
        out_indices=(3, 5),  # layers l and L, counted from 0
        layer_scale_init_value=0,
        drop_path_rate=0.0,
        # The release's rule suits a width of 768.
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Normal', layer='Conv2d', std=0.3),
        ],
    ),
    neck=dict(depth=1, init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
    tokenizer=dict(
        encoder=dict(arch=dict(embed_dims=128, depth=6, num_heads=4), img_size=48, patch_size=8),
        quantizer=dict(num_codes=512, code_dim=16, dead_code_steps=20),
        decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/evidence/cpu/tokenizer/seed_0/iter_1000.pth'),
    ),
)
train_dataloader = dict(
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(
        pipeline=[
            *_base_.load,
            _base_.crop,
            _base_.flip,
            dict(type='mmbeitv2.BlockMaskGenerator', grid_size=6, num_masked=14, min_block=4),
            dict(type='mmbeitv2.PackMaskedImage'),
        ]
    ),
)
# The position bias starts at zero; at the rate of the rest, short runs learn little.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10))))
