# Masked image modeling for the study of docs/evidence.md: 14 of 36 patches masked.
_base_ = ['training.py', 'adamw.py']
train_dataloader = dict(
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(
        **_base_.images,
        pipeline=[
            *_base_.load,
            _base_.crop,
            _base_.flip,
            dict(type='mmbeitv2.BlockMaskGenerator', grid_size=6, num_masked=14, min_block=4),
            dict(type='mmbeitv2.PackMaskedImage'),
        ],
    ),
)
# The position bias starts at zero; at the rate of the rest, short runs learn little.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10))))
