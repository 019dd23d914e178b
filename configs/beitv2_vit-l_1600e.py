# Paper, table 9, ViT-L, 1600 epochs.
_base_ = [
    '_base_/models/beitv2_vit-l.py',
    '_base_/datasets/imagenet_pretraining.py',
    '_base_/schedules/beitv2_1600e.py',
    '_base_/default_runtime.py',
]
model = dict(backbone=dict(drop_path_rate=0.1))
