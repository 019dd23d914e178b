# Paper, table 11, ViT-B: UperNet on ADE20K, 512x512, 160k iterations. The table gives the learning rates and layer
# decays that were searched, not the best: these are the middle ones, and those of the released weights are in _release.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
