# As beitv2_vit-b_adapt.py, where the settings are explained, from the released ViT-L/16.
_base_ = [
    '../_base_/models/beitv2_vit-l.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
model = dict(
    backbone=dict(drop_path_rate=0.1),
    init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-large_in1k-1600e_pt_release', reinit_head=False),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
