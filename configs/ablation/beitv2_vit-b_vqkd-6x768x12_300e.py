# Paper, table 4: a tokenizer with a decoder of depth 6.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(
    tokenizer=dict(
        decoder=dict(arch=dict(depth=6)),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-b_6x768x12-clip_100e/epoch_100.pth'),
    )
)
