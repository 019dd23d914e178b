# Paper, table 4: codes of width 16 instead of 32.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        quantizer=dict(code_dim=16),
        decoder=dict(arch=dict(depth=1), in_channels=16),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-b_1x768x12-dim16-clip_100e/epoch_100.pth'),
    )
)
