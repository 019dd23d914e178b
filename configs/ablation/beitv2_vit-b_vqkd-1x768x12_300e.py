# Paper, table 4: a tokenizer with a decoder of depth 1.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(
    tokenizer=dict(
        decoder=dict(arch=dict(depth=1)),
        init_cfg=dict(checkpoint='vqkd-base_1x768x12-clip_release'),
    )
)
