# EoMT (Kerssies et al. 2025) with BEiT v2 in place of DINOv2: its recipe for ADE20K (31 epochs of 1263 steps), with 100
# queries in the last three blocks of ViT-B. Two things differ: EoMT starts the queries 500 steps before the ViT, here
# all warm up together; and as everywhere here, layer-wise decay gives the last block 0.8 of the rate, not the whole.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.EoMTViT', num_queries=100, query_blocks=3, num_upscales=2, final_norm='norm', drop_path_rate=0.0
    ),
    neck=None,
    decode_head=dict(_delete_=True, type='mmbeitv2.EoMTHead', in_channels=768, num_classes=150),
    auxiliary_head=None,
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4), paramwise_cfg=dict(layer_decay_rate=0.8), clip_grad=dict(max_norm=0.01, norm_type=2)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=1500, end=40000),
]
# Validation scores the model without masked attention, which training lifts from its first to its fifth sixth.
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
