# Your own images: the paper's table 10 (ViT-B) from released weights that know ImageNet-21k, for 30 epochs instead of
# 100; batch 128 on 1 GPU. Not tuned.
#
#   python tools/train.py configs/classification/own_folders.py --cfg-options data_root=DIR
#
# The settings below can be given like data_root, to tools/train.py and tools/test.py alike. For other tools, set
# an environment variable of the same name, or copy this file and edit it.
_base_ = 'beitv2-1600e_vit-b_ft-100e_in1k.py'
import os  # noqa: E402  (imports before _base_ make mmengine take the file for one of its other kind)

from mmbeitv2.datasets import read_class_folders  # noqa: E402

data_root = '{{$data_root:data/own}}'
# Folders in data_root, each with one folder of images per class.
train = '{{$train:train}}'
val = '{{$val:val}}'

# The classes are the folders of the training images, in alphabetical order.
names = read_class_folders(os.path.join(data_root, train))


def split(name, pipeline):
    return dict(
        _delete_=True,
        type='mmbeitv2.ImageFolder',
        data_root=data_root,
        data_prefix=name,
        with_label=True,
        pipeline=pipeline,
    )


model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    head=dict(num_classes=len(names)),
)
data_preprocessor = dict(num_classes=len(names))
train_dataloader = dict(dataset=split(train, _base_.train_pipeline))
val_dataloader = dict(dataset=split(val, _base_.test_pipeline))
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
