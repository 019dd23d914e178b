# Ours, not in the paper: mini-batch spherical k-means (Sculley 2010) of the features of CLIP ViT-B/16.
_base_ = [
    '../_base_/models/kmeans_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/kmeans_1e.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'))
