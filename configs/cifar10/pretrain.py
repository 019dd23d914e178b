# BEiT v2 (paper, table 9) small enough for a CPU: a wide and shallow ViT, the codes of tokenizer.py. 14 of 36 patches
# are masked, single ones at random.
_base_ = '../quickstart/pretrain_random-mask.py'
model = dict(
    backbone=dict(arch=dict(embed_dims=192, depth=3, num_heads=6), out_indices=(1, 2), layer_scale_init_value=0),
    tokenizer=dict(
        quantizer=dict(num_codes=512),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/cifar10/tokenizer/iter_250.pth'),
    ),
)
train_dataloader = dict(
    batch_size=16,
    sampler=dict(_delete_=True, type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root='data/cifar10'),
)
test_dataloader = dict(dataset=dict(data_root='data/cifar10'))
test_evaluator = dict(num_codes=512)
# The position bias starts at zero; at the rate of the rest, short runs learn little (docs/benchmarks.md, CamVid).
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10)))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=1100, by_epoch=False, begin=100, end=1200),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1200)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=1200)
)
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=16)
