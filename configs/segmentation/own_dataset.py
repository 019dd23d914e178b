# Your own images: UperNet on the released ViT-B/16, as in the paper's table 11, for 20k iterations; batch 8 on 1 GPU.
#
#   python tools/train.py configs/segmentation/own_dataset.py --cfg-options data_root=DIR
#
# The settings below can be given like data_root, to tools/train.py and tools/test.py alike. For other tools, set
# an environment variable of the same name, or copy this file and edit it.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
import os  # noqa: E402  (imports before _base_ make mmengine take the file for one of its other kind)

from mmbeitv2.datasets import read_class_names  # noqa: E402

data_root = '{{$data_root:data/own}}'
# Names of the classes, one a line: the first line is class 0.
classes = '{{$classes:classes.txt}}'
# Folders of the images and of the label images, PNGs of one channel. Both files of an image have the same name.
images = '{{$images:images}}'
labels = '{{$labels:labels}}'
# Each split is a folder below both, or a text file (.txt) that lists its images, one a line.
train = '{{$train:train}}'
val = '{{$val:val}}'
# All paths are relative to data_root.
# Label images: 255 means "ignored"; with reduce_zero_label, 0 does too, and the classes count from 1; ignored_labels is
# a list of further values that do.
reduce_zero_label = {{'$reduce_zero_label:False'}}
ignored_labels = {{'$ignored_labels:None'}}

names = read_class_names(os.path.join(data_root, classes))


def split(name, pipeline):
    is_list = name.endswith('.txt')
    folders = (images, labels) if is_list else (os.path.join(images, name), os.path.join(labels, name))
    return dict(
        _delete_=True,
        type='mmbeitv2.SegFolder',
        data_root=data_root,
        data_prefix=dict(img_path=folders[0], seg_map_path=folders[1]),
        ann_file=name if is_list else '',
        classes=names,
        reduce_zero_label=reduce_zero_label,
        ignored_labels=ignored_labels,
        pipeline=pipeline,
    )


model = dict(
    backbone=dict(init_cfg=dict(checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')),
    decode_head=dict(num_classes=len(names)),
    auxiliary_head=dict(num_classes=len(names)),
)
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[2].update(num_classes=len(names))
test_pipeline[2].update(num_classes=len(names))
tta_pipeline[1]['transforms'][2][0].update(num_classes=len(names))
train_dataloader = dict(batch_size=8, dataset=split(train, train_pipeline))
val_dataloader = dict(dataset=split(val, test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=4e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=500, end=20000),
]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
auto_scale_lr = dict(base_batch_size=8)
