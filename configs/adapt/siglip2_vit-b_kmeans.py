# As dinov3_vit-b_kmeans.py, with timm's SigLIP 2 ViT-B/16.
_base_ = '../_base_/own_images_kmeans.py'
model = dict(teacher=dict(model='vit_base_patch16_siglip_224.v2_webli'))
