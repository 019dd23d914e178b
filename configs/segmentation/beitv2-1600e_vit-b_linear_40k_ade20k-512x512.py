# DINOv2's linear evaluation (Oquab et al. 2023, section 7.4; its ADE20K linear config) on a frozen ViT-B: batch norm,
# then one linear layer, on the patches of the last block; AdamW with lr 1e-3, 40k iterations of 16 images.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
model = dict(
    backbone=dict(out_indices=(11,), final_norm='norm', drop_path_rate=0.0, frozen_stages=12),
    neck=dict(_delete_=True, type='mmbeitv2.BatchNormNeck', in_channels=[768], norm_cfg=_base_.norm_cfg),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=768,
        in_index=0,
        channels=768,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=150,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=40000),
]
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
