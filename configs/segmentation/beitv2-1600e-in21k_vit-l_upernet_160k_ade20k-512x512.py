# Paper, table 11, ViT-L after intermediate fine-tuning on ImageNet-21k: UperNet on ADE20K, 512x512, 160k iterations.
_base_ = [
    '../_base_/models/upernet_vit-l.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth')))
