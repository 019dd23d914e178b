# Ours, not tuned: timm's DINOv3 ViT-B/16 at 256 pixels (16x16 features) as teacher, resampled to 14x14.
_base_ = 'kmeans_vit-b-clip_1e.py'
model = dict(
    teacher=dict(_delete_=True, type='mmbeitv2.TimmTeacher', model='vit_base_patch16_dinov3.lvd1689m', img_size=256),
)
