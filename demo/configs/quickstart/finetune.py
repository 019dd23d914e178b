# Paper, table 10, at the size of the sample set: a fifth of the labels, no mixing or RandAugment in so few steps.
_base_ = '../_base_/finetuning.py'
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/quickstart/pretrain/epoch_6.pth')
model = dict(backbone=dict(init_cfg=weights))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
