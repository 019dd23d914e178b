# Your own images: clusters of the patch features of timm's DINOv3 ViT-B/16, which are the codes of
# dinov3_vit-b_adapt.py; one pass over the images, batch 512 on 8 GPUs. data/own holds images/, nested to any
# depth.
_base_ = '../_base_/own_images_kmeans.py'
model = dict(teacher=dict(model='vit_base_patch16_dinov3.lvd1689m'))
