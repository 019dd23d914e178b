# Paper, table 11, ViT-L: UperNet on ADE20K, 512x512, 160k iterations; the middle of the searched rates and decays.
_base_ = [
    '../_base_/models/upernet_vit-l.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
