# As dinov3_vit-b_kmeans.py, with timm's DINOv3 ViT-S/16.
_base_ = '../_base_/own_images_kmeans.py'
model = dict(teacher=dict(model='vit_small_patch16_dinov3.lvd1689m'))
