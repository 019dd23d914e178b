# Paper, table 4: ViT-S as encoder, a decoder of depth 1 and width 384.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(encoder=dict(arch='small'), decoder=dict(arch=dict(embed_dims=384, depth=1, num_heads=6)))
