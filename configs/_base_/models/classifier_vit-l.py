# Paper, table 10, ViT-L.
_base_ = 'classifier_vit-b.py'
model = dict(
    backbone=dict(
        arch='large',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    head=dict(in_channels=1024),
)
