# After intermediate fine-tuning on ImageNet-21k, ViT-B: the released recipe, layer decay 0.85 (reference, config).
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512_release.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
