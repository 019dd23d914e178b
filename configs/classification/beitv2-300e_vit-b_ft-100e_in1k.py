# Paper, table 10, ViT-B pretrained for 300 epochs: fine-tuning on ImageNet-1k, 100 epochs.
_base_ = 'beitv2-1600e_vit-b_ft-100e_in1k.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_300e/epoch_300.pth')))
