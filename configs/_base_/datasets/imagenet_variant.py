# ImageNet-1k to train on, and one of its variants to test on, whose folder the inheriting config sets.
_base_ = 'finetuning.py'
train_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='train'))
val_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='val'))
test_dataloader = dict(dataset=dict(type='mmbeitv2.ImageNetVariant'))
test_evaluator = dict(type='mmbeitv2.SubsetAccuracy')
