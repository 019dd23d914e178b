# Paper, section 3.2: a linear layer on the CLS token of a frozen ViT-B.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=224,
        patch_size=16,
        out_type='cls_token',
        final_norm='norm',
        rel_pos_bias='shared',
        layer_scale_init_value=0.1,
        drop_path_rate=0.0,
        frozen_stages=12,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth'),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01, a=-2.0, b=2.0),
    ),
    train_cfg=dict(),
)
