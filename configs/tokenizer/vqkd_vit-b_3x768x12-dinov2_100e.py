# Ours, not tuned: timm's DINOv2 ViT-B/14 at 224 pixels (16x16 features) as teacher, resampled to 14x14.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(
    teacher=dict(_delete_=True, type='mmbeitv2.TimmTeacher', model='vit_base_patch14_dinov2.lvd142m', img_size=224),
)
