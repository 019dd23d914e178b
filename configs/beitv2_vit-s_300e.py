# ViT-S, which is not in the paper; table 9 apart from the network, 300 epochs.
_base_ = [
    '_base_/models/beitv2_vit-s.py',
    '_base_/datasets/imagenet_pretraining.py',
    '_base_/schedules/beitv2_300e.py',
    '_base_/default_runtime.py',
]
