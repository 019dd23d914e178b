# Paper, table 6: a tokenizer with DINO as teacher.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        decoder=dict(arch=dict(depth=1)),
        target_dims=768,
        init_cfg=dict(checkpoint='vqkd-base_1x768x12-dino_release'),
    )
)
