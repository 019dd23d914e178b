# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after ImageNet-21k, ViT-L (numbers of the reference's README).
_base_ = 'beit-150e-in21k_vit-b_ft-30e_in1k.py'
model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.4,
        layer_scale_init_value=1e-5,
        init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-l_ft-90e_in21k/epoch_90.pth'),
    ),
    head=dict(in_channels=1024),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
