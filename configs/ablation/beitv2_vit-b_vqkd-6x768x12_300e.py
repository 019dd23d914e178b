# Paper, table 4: a tokenizer with a decoder of depth 6.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        decoder=dict(arch=dict(depth=6)),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-b_6x768x12-clip_100e/epoch_100.pth'),
    )
)
