# ImageNet-1k.
_base_ = 'finetuning.py'
train_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='train'))
val_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='val'))
test_dataloader = val_dataloader
