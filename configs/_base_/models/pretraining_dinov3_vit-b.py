# Ours: DINOv3 ViT-B/16 of timm in the place of the paper's ViT. The inheriting file sets the tokenizer.
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.TimmViT',
        model='vit_base_patch16_dinov3.lvd1689m',
        pretrained=True,
        img_size=224,
        out_indices=(8, 11),  # layers l and L, counted from 0
        out_type='raw',
        use_mask_token=True,
        drop_path_rate=0.1,
    ),
    neck=dict(type='mmbeitv2.CLSAggregationNeck', depth=2),
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
