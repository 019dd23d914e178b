# Paper, table 11, ViT-B after intermediate fine-tuning on ImageNet-21k: UperNet on ADE20K, 512x512, 160k iterations.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')))
