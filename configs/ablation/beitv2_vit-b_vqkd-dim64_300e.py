# Paper, table 4: codes of width 64 instead of 32.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(
    tokenizer=dict(
        quantizer=dict(code_dim=64),
        decoder=dict(arch=dict(depth=1), in_channels=64),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-b_1x768x12-dim64-clip_100e/epoch_100.pth'),
    )
)
