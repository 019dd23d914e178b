# Paper, table 4: codes of width 64 instead of 32.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        quantizer=dict(code_dim=64),
        decoder=dict(arch=dict(depth=1), in_channels=64),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-b_1x768x12-dim64-clip_100e/epoch_100.pth'),
    )
)
