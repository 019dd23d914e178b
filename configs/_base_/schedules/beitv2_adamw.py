# Paper, table 9: the optimizer of 1600 epochs.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    clip_grad=dict(max_norm=3.0),
)
