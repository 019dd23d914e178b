# Your own images, nested to any depth in data/own/images, as imagenet_pretraining.py augments them; batch 512 on 8
# GPUs.
_base_ = 'imagenet_pretraining.py'
data_root = 'data/own'
train_dataloader = dict(
    batch_size=64,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, data_prefix='images'),
)
auto_scale_lr = dict(base_batch_size=512)
