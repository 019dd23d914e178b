# Your own images: goes on with pretraining from timm's DINOv3 ViT-B/16, batch 512 on 8 GPUs. The codes are clusters of
# its own features on these images, made by dinov3_vit-b_kmeans.py. Not tuned; docs/guides/adapt.md explains it.
#
#   python tools/train.py configs/adapt/dinov3_vit-b_kmeans.py
#   python tools/train.py configs/adapt/dinov3_vit-b_adapt.py --auto-scale-lr
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/default_runtime.py',
]
data_root = 'data/own'
train_dataloader = dict(
    batch_size=64,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, data_prefix='images'),
)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=500, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=512)
