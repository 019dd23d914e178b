# As beitv2_vit-b_adapt.py, with its tokenizer, the released VQ-KD of CLIP's features, from timm's DINOv3 ViT-B/16.
_base_ = [
    '../_base_/models/pretraining_dinov3_vit-b.py',
    '../_base_/models/vqkd_clip.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
model = dict(tokenizer=_base_.vqkd)
