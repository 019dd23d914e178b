# Your own images: goes on with pretraining from timm's DINOv3 ViT-B/16, batch 512 on 8 GPUs. The codes are clusters of
# its own features on these images, made by dinov3_vit-b_kmeans.py. Not tuned; docs/guides/adapt.md explains it.
#
#   python tools/train.py configs/adapt/dinov3_vit-b_kmeans.py
#   python tools/train.py configs/adapt/dinov3_vit-b_adapt.py --auto-scale-lr
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
