# Ours, not tuned: timm's SigLIP 2 ViT-B/16 at 224 pixels (14x14 features) as teacher, resampled to 14x14.
_base_ = [
    '../_base_/models/kmeans_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/kmeans_1e.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    teacher=dict(type='mmbeitv2.TimmTeacher', model='vit_base_patch16_siglip_224.v2_webli', img_size=224),
)
