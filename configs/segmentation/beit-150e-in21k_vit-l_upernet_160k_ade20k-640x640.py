# BEiT (Bao et al. 2021): UperNet on ADE20K at 640x640 after ImageNet-21k, ViT-L (reference, config).
_base_ = 'beit-150e-in21k_vit-b_upernet_160k_ade20k-640x640.py'
model = dict(
    backbone=dict(
        arch='large',
        out_indices=(7, 11, 15, 23),
        drop_path_rate=0.2,
        layer_scale_init_value=1e-6,
        init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-l_ft-90e_in21k/epoch_90.pth'),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=2e-5), paramwise_cfg=dict(layer_decay_rate=0.95))
