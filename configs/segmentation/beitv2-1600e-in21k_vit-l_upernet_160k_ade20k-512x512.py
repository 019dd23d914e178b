# After intermediate fine-tuning on ImageNet-21k, ViT-L: the released recipe, lr 3e-5 (reference, config).
_base_ = 'beitv2-1600e_vit-l_upernet_160k_ade20k-512x512_release.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth')))
optim_wrapper = dict(optimizer=dict(lr=3e-5))
