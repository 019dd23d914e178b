# segment.py with a mask decoder (EoMT) in place of UperNet: 30 queries in the last two of the four blocks.
_base_ = 'segment.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.EoMTViT', num_queries=30, query_blocks=2, num_upscales=2, final_norm='norm', drop_path_rate=0.0
    ),
    neck=None,
    decode_head=dict(
        _delete_=True, type='mmbeitv2.EoMTHead', in_channels=128, num_classes=len(_base_.classes), num_points=1600
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(clip_grad=dict(max_norm=0.01, norm_type=2))
