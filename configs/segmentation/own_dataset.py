# Your own images: UperNet on the released ViT-B/16, as in the paper's table 11, for 20k iterations; batch 8 on 1 GPU.
#
#   python tools/train.py configs/segmentation/own_dataset.py --cfg-options \
#       model.decode_head.num_classes=11 model.auxiliary_head.num_classes=11
#
# data/own (a folder or a link) holds classes.txt (one name a line, the first line is class 0), images/{train,val},
# and labels/{train,val} with PNGs of one channel, in which 255 means "ignored". docs/guides/segment.md explains every
# setting, and what to do with colors.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/own_dataset.py',
    '../_base_/schedules/own_dataset_20k.py',
    '../_base_/segmentation_runtime.py',
]
num_classes = 2  # as many as classes.txt has lines
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
default_hooks = dict(checkpoint=dict(interval=2000))
