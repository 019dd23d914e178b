# Ours, not tuned: timm's SigLIP 2 ViT-B/16 at 224 pixels (14x14 features) as teacher, resampled to 14x14.
_base_ = 'kmeans_vit-b-clip_1e.py'
model = dict(
    teacher=dict(
        _delete_=True, type='mmbeitv2.TimmTeacher', model='vit_base_patch16_siglip_224.v2_webli', img_size=224
    ),
)
