# Ours, not in the paper: mini-batch spherical k-means (Sculley 2010) of the features of CLIP ViT-B/16.
_base_ = [
    '../_base_/models/kmeans_clip.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/kmeans_1e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    **_base_.kmeans,
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
custom_hooks = [
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.ThroughputHook'),
    dict(type='mmbeitv2.CodebookHook'),
]
