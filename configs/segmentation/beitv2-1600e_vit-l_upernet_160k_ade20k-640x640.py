# Paper, table 11, ViT-L, at BEiT's 640x640 as its ViT-B: neither paper nor release trains BEiT v2 at this size.
_base_ = [
    '../_base_/models/upernet_vit-l_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
