# Paper, table 6: a tokenizer with DINO as teacher.
_base_ = '../beitv2_vit-b_300e.py'
model = dict(
    tokenizer=dict(
        decoder=dict(arch=dict(depth=1)),
        target_dims=768,
        init_cfg=dict(checkpoint='vqkd-base_1x768x12-dino_release'),
    )
)
