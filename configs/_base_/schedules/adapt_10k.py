# Ours, not tuned: a quarter of the learning rate of table 9 for a batch of 512 on 8 GPUs, and less in lower layers.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8),
    clip_grad=dict(max_norm=3.0),
)
# Counted in iterations, so that one schedule serves 5,000 to 1,000,000 images: how far the weights have to move depends
# on how different the images are, not on how many. Crops, colors and masks are new in each pass. 10,000 iterations are
# 5.12 million samples: 1024 passes over 5,000 images, 51 over 100,000, 5 over 1,000,000. To change the length, set
# T_max, end and max_iters.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min=1e-6, T_max=9500, by_epoch=False, begin=500, end=10000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=10000)
