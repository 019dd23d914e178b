# Ours, not tuned: timm's SigLIP 2 ViT-B/16 at 224 pixels (14x14 features) as teacher, resampled to 14x14.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(
    teacher=dict(
        _delete_=True, type='mmbeitv2.TimmTeacher', model='vit_base_patch16_siglip_224.v2_webli', img_size=224
    ),
)
