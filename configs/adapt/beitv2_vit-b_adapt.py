# Your own images: goes on with pretraining from the released ViT-B/16, batch 512 on 8 GPUs. Not in the paper and not
# tuned; docs/guides/adapt.md explains it.
#
#   python tools/train.py configs/adapt/beitv2_vit-b_adapt.py --auto-scale-lr --cfg-options data_root=DIR
#
# The settings below can be given like data_root. For other tools, set an environment variable of the same name, or copy
# this file and edit it.
_base_ = '../beitv2_vit-b_1600e.py'
import os  # noqa: E402  (imports before _base_ make mmengine take the file for one of its other kind)

from mmbeitv2.datasets import read_class_names  # noqa: E402
from mmbeitv2.errors import InputError  # noqa: E402

data_root = '{{$data_root:data/own}}'
# Folder of the images to adapt to, nested to any depth; labels are not needed.
images = '{{$images:images}}'
# What shows whether it helps: 'images' (a folder of images for each class), 'patches' (images with label images, as in
# configs/segmentation/own_dataset.py), or 'none'.
score = '{{$score:images}}'
# Labeled images to compare with, and those to score.
bank = '{{$bank:train}}'
queries = '{{$queries:val}}'
# With score=patches, bank and queries lie below these two folders, and the file names the classes, one a line.
seg_images = '{{$seg_images:images}}'
seg_labels = '{{$seg_labels:labels}}'
classes = '{{$classes:classes.txt}}'
# All paths are relative to data_root.
ignored_labels = {{'$ignored_labels:None'}}

kinds = {'images': 'mmbeitv2.KNNHook', 'patches': 'mmbeitv2.PatchKNNHook', 'none': None}
if score not in kinds:
    raise InputError(f'score is {score!r}, but must be images, patches or none')
names = read_class_names(os.path.join(data_root, classes)) if score == 'patches' else ()


def labeled(folder):
    load = dict(type='mmbeitv2.LoadImage')
    if score == 'images':
        dataset = dict(
            type='mmbeitv2.ImageFolder',
            data_root=os.path.join(data_root, folder),
            with_label=True,
            pipeline=[load, dict(type='mmbeitv2.FitImage', scale=224), dict(type='PackInputs')],
        )
    else:
        dataset = dict(
            type='mmbeitv2.SegFolder',
            data_root=data_root,
            data_prefix=dict(img_path=os.path.join(seg_images, folder), seg_map_path=os.path.join(seg_labels, folder)),
            classes=names,
            ignored_labels=ignored_labels,
            pipeline=[
                load,
                dict(type='mmbeitv2.FitImage', scale=224, fit='stretch'),
                dict(type='mmbeitv2.LoadSegLabels', num_classes=len(names)),
                dict(type='mmseg.PackSegInputs'),
            ],
        )
    return dict(batch_size=64, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset) | (
        dict(collate_fn=dict(type='default_collate')) if score == 'images' else {}
    )


# The whole model goes on: encoder, patch aggregation and head. What the file lacks starts afresh, and the log says so.
# With another tokenizer than the file's, set reinit_head=True: the head then starts afresh.
model = dict(
    init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_pt_release', reinit_head=False)
)
train_dataloader = dict(
    batch_size=64,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, data_prefix=images),
)
# A quarter of the pretraining's learning rate for a batch of this size, and less in lower layers.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(layer_decay_rate=0.8))
# Counted in iterations, so that one schedule serves 5,000 to 1,000,000 images: how far the weights have to move depends
# on how different the images are, not on how many. Crops, colors and masks are new in each pass. 10,000 iterations are
# 5.12 million samples: 1024 passes over 5,000 images, 51 over 100,000, 5 over 1,000,000. To change the length, set
# T_max, end and max_iters.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min=1e-6, T_max=9500, by_epoch=False, begin=500, end=10000),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=10000)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=500, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
# Scored before the first step, and every 500. The best weights are kept; the run stops after three scores in a row
# below the first.
scoring = dict(interval=500, by_epoch=False, score_start=True, keep_best=True, patience=3)
custom_hooks = [
    *_base_.custom_hooks,
    *(
        [dict(type=kinds[score], bank_dataloader=labeled(bank), query_dataloader=labeled(queries), **scoring)]
        if kinds[score]
        else []
    ),
]
auto_scale_lr = dict(base_batch_size=512)
