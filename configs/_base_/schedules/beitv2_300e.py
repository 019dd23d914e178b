# Paper, table 9.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    clip_grad=dict(max_norm=3.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=290, by_epoch=True, begin=10, end=300, convert_to_iter_based=True
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=300)
