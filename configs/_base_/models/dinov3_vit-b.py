# Ours: DINOv3 ViT-B/16 of timm, with the clusters of its own features as codes.
name = 'vit_base_patch16_dinov3.lvd1689m'
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.TimmViT',
        model=name,
        pretrained=True,
        img_size=224,
        out_indices=(8, 11),  # layers l and L, counted from 0
        out_type='raw',
        use_mask_token=True,
        drop_path_rate=0.1,
    ),
    neck=dict(type='mmbeitv2.CLSAggregationNeck', depth=2),
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    tokenizer=dict(
        type='mmbeitv2.KMeansTokenizer',
        teacher=dict(type='mmbeitv2.TimmTeacher', model=name, pretrained=True, img_size=224),
        img_size=224,
        patch_size=16,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/dinov3_vit-b_kmeans/epoch_1.pth'),
    ),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
