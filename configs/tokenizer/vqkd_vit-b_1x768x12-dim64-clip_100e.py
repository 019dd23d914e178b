# Paper, table 4: codes of width 64 instead of 32.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(quantizer=dict(code_dim=64), decoder=dict(arch=dict(depth=1), in_channels=64))
