# Paper, table 10, at the size of the sample set: a fifth of the labels, no mixing or RandAugment in so few steps.
_base_ = '../_base_/finetuning.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/quickstart/pretrain/epoch_6.pth')))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
