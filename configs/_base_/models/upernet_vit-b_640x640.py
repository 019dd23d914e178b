# ViT-B at 640x640, with the stride of BEiT (reference,
# beit/.../upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py).
_base_ = 'upernet.py'
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=640,
        patch_size=16,
        out_indices=(3, 5, 7, 11),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth'),
    ),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
