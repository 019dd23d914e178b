# As segment.py, by batch norm and one linear layer on the frozen patches of the last block.
_base_ = './segment.py'
model = dict(
    backbone=dict(out_indices=(5,), final_norm='norm', frozen_stages=6),
    neck=dict(
        _delete_=True,
        type='mmbeitv2.BatchNormNeck',
        in_channels=[128],
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=128,
        channels=128,
        in_index=0,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=11,
    ),
    auxiliary_head=None,
)
