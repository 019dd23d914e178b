# Paper, table 4: a ViT-S tokenizer.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        encoder=dict(arch='small'),
        decoder=dict(arch=dict(embed_dims=384, depth=1, num_heads=6)),
        init_cfg=dict(checkpoint='work_dirs/vqkd_vit-s_1x384x6-clip_100e/epoch_100.pth'),
    )
)
