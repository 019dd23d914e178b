# Paper, table 8, with a decoder of depth 1 (table 4); vqkd_encoder_base_decoder_1x768x12_clip of the release.
_base_ = [
    '../_base_/models/vqkd-clip_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(decoder=dict(arch=dict(depth=1)))
