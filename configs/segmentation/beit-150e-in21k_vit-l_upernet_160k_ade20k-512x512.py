# BEiT (Bao et al. 2021): UperNet on ADE20K at 512x512 after ImageNet-21k, ViT-L (reference,
# upernet_beit_large_24_512_slide_160k_ade20k_pt2ft.py).
_base_ = 'beitv2-1600e_vit-l_upernet_160k_ade20k-512x512.py'
model = dict(
    backbone=dict(
        layer_scale_init_value=1e-6,
        init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-l_ft-90e_in21k/epoch_90.pth'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=2e-5), paramwise_cfg=dict(layer_decay_rate=0.95))
