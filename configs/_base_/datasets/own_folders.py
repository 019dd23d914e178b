# Your own images in class folders, data/own/train/CLASS/*.jpg and data/own/val/CLASS/*.jpg; batch 128 on 1 GPU.
_base_ = 'finetuning.py'
dataset = dict(type='mmbeitv2.ImageFolder', data_root='data/own', with_label=True)
train_dataloader = dict(dataset=dict(**dataset, data_prefix='train'))
val_dataloader = dict(dataset=dict(**dataset, data_prefix='val'))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=128)
