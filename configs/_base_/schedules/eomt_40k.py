# EoMT (Kerssies et al. 2025): its recipe for ADE20K, 31 epochs of 1263 steps.
_base_ = 'upernet_160k.py'
optim_wrapper = dict(optimizer=dict(lr=0.0001), clip_grad=dict(max_norm=0.01, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=1500, end=40000),
]
# Validation scores the model without masked attention, which training lifts from its first to its fifth sixth.
train_cfg = dict(max_iters=40000, val_interval=4000)
