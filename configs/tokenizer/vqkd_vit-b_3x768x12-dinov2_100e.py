# Ours, not tuned: timm's DINOv2 ViT-B/14 at 224 pixels (16x16 features) as teacher, resampled to 14x14.
_base_ = [
    '../_base_/models/vqkd_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(
    teacher=dict(type='mmbeitv2.TimmTeacher', model='vit_base_patch14_dinov2.lvd142m', img_size=224),
)
