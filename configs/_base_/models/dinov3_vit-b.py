# Ours: DINOv3 ViT-B/16 of timm, with the clusters of its own features as codes.
_base_ = 'pretraining_dinov3_vit-b.py'
model = dict(
    tokenizer=dict(
        type='mmbeitv2.KMeansTokenizer',
        teacher=dict(
            type='mmbeitv2.TimmTeacher', model='vit_base_patch16_dinov3.lvd1689m', pretrained=True, img_size=224
        ),
        img_size=224,
        patch_size=16,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/dinov3_vit-b_kmeans/epoch_1.pth'),
    )
)
