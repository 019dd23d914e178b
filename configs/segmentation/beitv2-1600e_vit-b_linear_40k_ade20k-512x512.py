# DINOv2's linear evaluation (Oquab et al. 2023, section 7.4; its ADE20K linear config) on a frozen ViT-B: batch norm,
# then one linear layer, on the patches of the last block; AdamW with lr 1e-3, 40k iterations of 16 images.
_base_ = [
    '../_base_/models/linear_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/linear_40k.py',
    '../_base_/segmentation_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=4000))
