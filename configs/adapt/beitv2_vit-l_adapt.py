# As beitv2_vit-b_adapt.py, where the settings are explained, from the released ViT-L/16.
_base_ = 'beitv2_vit-b_adapt.py'
model = dict(
    backbone=dict(arch='large', out_indices=(20, 23), layer_scale_init_value=1e-5),
    init_cfg=dict(checkpoint='beitv2-large_in1k-1600e_pt_release'),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
