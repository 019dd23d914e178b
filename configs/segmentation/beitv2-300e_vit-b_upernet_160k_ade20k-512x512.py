# Paper, table 11, ViT-B pretrained for 300 epochs: UperNet on ADE20K, 512x512, 160k iterations.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_300e/epoch_300.pth')))
