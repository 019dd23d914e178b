# As beitv2_vit-b_adapt.py, with its tokenizer, the released VQ-KD of CLIP's features, from timm's DINOv3 ViT-B/16.
_base_ = 'beitv2_vit-b_adapt.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmbeitv2.TimmViT',
        model='vit_base_patch16_dinov3.lvd1689m',
        pretrained=True,
        img_size=224,
        out_indices=(8, 11),
        out_type='raw',
        use_mask_token=True,
        drop_path_rate=0.1,
    ),
    init_cfg=None,
)
