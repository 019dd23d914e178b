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
    '../_base_/datasets/own_folders.py',
    '../_base_/schedules/own_folders_30e.py',
    '../_base_/classification_runtime.py',
]
num_classes = 2
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    head=dict(num_classes=num_classes),
)
data_preprocessor = dict(num_classes=num_classes)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
