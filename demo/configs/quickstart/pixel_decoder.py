# Ours: pixels from the codes that pretrain.py predicts, to look at.
_base_ = 'pretrain.py'
model = dict(
    _delete_=True,
    type='mmbeitv2.PixelDecoder',
    tokenizer=_base_.model.tokenizer,
    decoder=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=128, depth=3, num_heads=4),
        img_size=6,
        patch_size=1,
        in_channels=32,
        out_type='featmap',
        final_norm='norm',
        use_abs_pos_emb=True,
        rel_pos_bias='none',
        layer_scale_init_value=0.0,
    ),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(pin_memory=True, dataset=dict(pipeline=test_pipeline))
test_evaluator = dict(_delete_=True, type='mmbeitv2.PeakSignalNoiseRatio')
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.002, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, T_max=4.5, by_epoch=True, begin=0.5, end=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=5)
auto_scale_lr = dict(base_batch_size=32)
