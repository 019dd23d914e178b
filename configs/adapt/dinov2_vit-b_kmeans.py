# As dinov3_vit-b_kmeans.py, with timm's DINOv2 ViT-B/14 with registers.
_base_ = '../_base_/own_images_kmeans.py'
model = dict(teacher=dict(model='vit_base_patch14_reg4_dinov2.lvd142m'), patch_size=14)
