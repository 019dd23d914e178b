# Paper, section 2.3 and table 9; names and sizes as beitv2_large_patch16_224 of the release.
_base_ = 'beitv2_vit-b.py'
model = dict(backbone=dict(arch='large', out_indices=(20, 23), layer_scale_init_value=1e-5))
