# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after 300 epochs on it, ViT-B (numbers of mmpretrain's config).
_base_ = 'beit-150e_vit-b_ft-100e_in1k.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_300e/epoch_300.pth')))
