# Paper, table 10, ViT-B: mean of the patches, a position bias for each layer, mixed images.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=224,
        patch_size=16,
        out_type='avg_featmap',
        final_norm='fc_norm',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth'),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02 * 0.001, a=-0.002, b=0.002),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
