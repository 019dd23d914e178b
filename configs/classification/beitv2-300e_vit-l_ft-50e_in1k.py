# Paper, table 10, ViT-L pretrained for 300 epochs: fine-tuning on ImageNet-1k, 50 epochs.
_base_ = 'beitv2-1600e_vit-l_ft-50e_in1k.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_300e/epoch_300.pth')))
