# ViT-L at 640x640, with the stride of BEiT (reference,
# beit/.../upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py).
_base_ = 'upernet.py'
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch='large',
        img_size=640,
        patch_size=16,
        out_indices=(7, 11, 15, 23),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
