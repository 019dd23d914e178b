# ImageNet-21k; batch 4096 on 32 GPUs.
_base_ = 'finetuning.py'
data_root = 'data/imagenet21k'
data_preprocessor = dict(num_classes=21841)
train_dataloader = dict(dataset=dict(type='ImageNet21k', data_root=data_root, split='train'))
# Not scored while it trains, as in the reference.
val_dataloader, val_evaluator = None, None
# ImageNet-21k has no validation set; tools/test.py scores class folders of one's own.
test_dataloader = dict(
    dataset=dict(type='mmbeitv2.ImageFolder', data_root=data_root, data_prefix='val', with_label=True)
)
auto_scale_lr = dict(base_batch_size=4096)
