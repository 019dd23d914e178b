# As segment.py by a mask decoder on the frozen ViT: 30 queries in trained copies of its last two blocks.
_base_ = './segment.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.EoMTViT',
        num_queries=30,
        query_blocks=2,
        num_upscales=1,
        final_norm='norm',
        frozen_encoder=True,
    ),
    neck=None,
    decode_head=dict(_delete_=True, type='mmbeitv2.EoMTHead', in_channels=128, num_classes=11, num_points=1024),
    auxiliary_head=None,
)
optim_wrapper = dict(clip_grad=dict(max_norm=0.01))  # EoMT's recipe
