# Paper, table 11, at the size of the sample set: 48x48 crops.
_base_ = '../_base_/segmentation.py'
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/quickstart/pretrain/epoch_6.pth')
model = dict(backbone=dict(init_cfg=weights))
