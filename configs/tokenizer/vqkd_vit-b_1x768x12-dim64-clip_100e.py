# Paper, table 4: codes of width 64 instead of 32.
_base_ = [
    '../_base_/models/vqkd-clip_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(quantizer=dict(code_dim=64), decoder=dict(arch=dict(depth=1), in_channels=64))
