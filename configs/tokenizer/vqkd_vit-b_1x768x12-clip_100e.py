# Paper, table 8, with a decoder of depth 1 (table 4); vqkd_encoder_base_decoder_1x768x12_clip of the release.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(decoder=dict(arch=dict(depth=1)))
