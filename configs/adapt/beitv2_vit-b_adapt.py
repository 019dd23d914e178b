# Your own images: goes on with pretraining from the released ViT-B/16, batch 512 on 8 GPUs. Not in the paper and not
# tuned; docs/guides/adapt.md explains it. beitv2_vit-b_adapt-knn.py also scores it.
#
#   python tools/train.py configs/adapt/beitv2_vit-b_adapt.py --auto-scale-lr
#
# data/own, a folder or a link to one, holds images/, nested to any depth; labels are not needed.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
# The whole model goes on: encoder, patch aggregation and head. What the file lacks starts from its initial weights, and
# the log says so. With another tokenizer than the file's, set reinit_head=True: the head then starts anew.
model = dict(
    backbone=dict(drop_path_rate=0.1),
    init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_pt_release', reinit_head=False),
)
