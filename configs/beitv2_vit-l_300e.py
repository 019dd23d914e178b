# Paper, table 9, ViT-L, 300 epochs.
_base_ = [
    '_base_/models/beitv2_vit-b.py',
    '_base_/datasets/imagenet_pretraining.py',
    '_base_/schedules/beitv2_300e.py',
    '_base_/default_runtime.py',
]
model = dict(backbone=dict(arch='large', out_indices=(20, 23), layer_scale_init_value=1e-5, drop_path_rate=0.0))
