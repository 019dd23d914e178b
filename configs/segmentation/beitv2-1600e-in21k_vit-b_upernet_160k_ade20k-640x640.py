# Paper, table 11, ViT-B after intermediate fine-tuning on ImageNet-21k, at BEiT's 640x640: neither paper nor release
# trains BEiT v2 at this size.
_base_ = [
    '../_base_/models/upernet_vit-b_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')))
