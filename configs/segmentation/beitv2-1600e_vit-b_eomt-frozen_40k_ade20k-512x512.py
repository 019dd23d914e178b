# As beitv2-1600e_vit-b_eomt_40k_ade20k-512x512.py on a frozen ViT-B: the queries pass through trained copies of its
# last three blocks (after PMT, Cavagnero et al. 2026). Ours, not tuned.
_base_ = [
    '../_base_/models/eomt_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/eomt_40k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(frozen_encoder=True))
default_hooks = dict(checkpoint=dict(interval=4000))
