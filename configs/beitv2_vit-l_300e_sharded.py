# Paper, table 9, ViT-L, 300 epochs; parameters and optimizer state spread over the GPUs.
_base_ = [
    '_base_/models/beitv2_vit-l.py',
    '_base_/datasets/imagenet_pretraining.py',
    '_base_/schedules/beitv2_300e.py',
    '_base_/default_runtime.py',
    '_base_/sharded.py',
]
