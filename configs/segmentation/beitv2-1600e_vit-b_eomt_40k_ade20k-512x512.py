# EoMT (Kerssies et al. 2025) with BEiT v2 in place of DINOv2: its recipe for ADE20K (31 epochs of 1263 steps), with 100
# queries in the last three blocks of ViT-B. Two things differ: EoMT starts the queries 500 steps before the ViT, here
# all warm up together; and as everywhere here, layer-wise decay gives the last block 0.8 of the rate, not the whole.
_base_ = [
    '../_base_/models/eomt_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/eomt_40k.py',
    '../_base_/segmentation_runtime.py',
]
default_hooks = dict(checkpoint=dict(interval=4000))
