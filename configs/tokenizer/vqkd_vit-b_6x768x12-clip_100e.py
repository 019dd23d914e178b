# Paper, table 4: a decoder of depth 6.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(decoder=dict(arch=dict(depth=6)))
