# Your own images: the paper's table 10 (ViT-B) from released weights that know ImageNet-21k, for 30 epochs instead of
# 100; batch 128 on 1 GPU. Not tuned.
#
#   python tools/train.py configs/classification/own_folders.py --cfg-options \
#       model.head.num_classes=37 data_preprocessor.num_classes=37
#
# data/own, a folder or a link to one, holds train/CLASS/*.jpg and val/CLASS/*.jpg. The classes are the folders, in
# alphabetical order.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
data_root = 'data/own'
num_classes = 2
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    head=dict(num_classes=num_classes),
)
data_preprocessor = dict(num_classes=num_classes)
dataset = dict(_delete_=True, type='mmbeitv2.ImageFolder', data_root=data_root, with_label=True)
train_dataloader = dict(dataset=dict(**dataset, data_prefix='train', pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(**dataset, data_prefix='val', pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
# The rate of table 10, 5e-4 for a batch of 1024, for a batch of 128.
optim_wrapper = dict(optimizer=dict(lr=6.25e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-3, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=2e-3,
        T_max=25,
        by_epoch=True,
        begin=5,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=128)
