# Paper, table 4: ViT-S as encoder, a decoder of depth 1 and width 384.
_base_ = [
    '../_base_/models/vqkd-clip_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(encoder=dict(arch='small'), decoder=dict(arch=dict(embed_dims=384, depth=1, num_heads=6)))
