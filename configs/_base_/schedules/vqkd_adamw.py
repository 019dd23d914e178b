# Paper, table 8: the optimizer.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, betas=(0.9, 0.99), weight_decay=1e-4, fused=True),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)
