# Paper, table 4: a decoder of depth 6.
_base_ = [
    '../_base_/models/vqkd-clip_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(decoder=dict(arch=dict(depth=6)))
