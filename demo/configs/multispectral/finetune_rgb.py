# The control of finetune.py that sees the visible bands only, from random weights.
_base_ = 'finetune.py'
model = dict(backbone=dict(in_channels=3, init_cfg=None))
rgb = list(_base_.color_channels)
load_channels = dict(_base_.load_channels, keep=rgb)
train_pipeline = _base_.train_pipeline
train_pipeline[1] = load_channels
test_pipeline = [load_channels, *_base_.test_pipeline[1:]]
data_preprocessor = dict(mean=[_base_.channel_mean[i] for i in rgb], std=[_base_.channel_std[i] for i in rgb])
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
