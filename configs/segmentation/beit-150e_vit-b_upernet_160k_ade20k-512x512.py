# BEiT (Bao et al. 2021): UperNet on ADE20K at 512x512 right after pretraining on ImageNet-21k, ViT-B (reference,
# upernet_beit_base_12_512_slide_160k_ade20k_pt.py).
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_150e_in21k/epoch_150.pth')))
optim_wrapper = dict(optimizer=dict(lr=7e-4), paramwise_cfg=dict(layer_decay_rate=0.65))
