# Ours: the pixel decoder at the size of the quickstart's tokenizer.
_base_ = [
    '../../../configs/_base_/datasets/imagenet_tokenizer.py',
    '../../../configs/_base_/tokenizer_runtime.py',
]
model = dict(
    type='mmbeitv2.PixelDecoder',
    tokenizer=dict(
        type='mmbeitv2.VQKD',
        encoder=dict(
            type='mmbeitv2.BEiTv2ViT',
            arch=dict(embed_dims=192, depth=2, num_heads=6),
            img_size=48,
            patch_size=8,
            out_type='featmap',
            final_norm='fc_norm',
            use_abs_pos_emb=True,
            rel_pos_bias='none',
            layer_scale_init_value=0.0,
        ),
        quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=64, code_dim=32, beta=1.0, decay=0.99),
        decoder=dict(
            type='mmbeitv2.BEiTv2ViT',
            arch=dict(embed_dims=192, depth=1, num_heads=6),
            img_size=6,
            patch_size=1,
            in_channels=32,
            out_type='featmap',
            final_norm='fc_norm',
            use_abs_pos_emb=True,
            rel_pos_bias='none',
            layer_scale_init_value=0.0,
        ),
        target_dims=128,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/quickstart/tokenizer/epoch_4.pth'),
    ),
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
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True
    ),
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
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(data_root='work_dirs/quickstart/sample/imagenet', pipeline=train_pipeline),
)
val_dataloader = None
test_dataloader = dict(
    num_workers=1, dataset=dict(data_root='work_dirs/quickstart/sample/imagenet', pipeline=test_pipeline)
)
val_evaluator = None
test_evaluator = dict(_delete_=True, type='mmbeitv2.PeakSignalNoiseRatio')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.002, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, T_max=4.5, by_epoch=True, begin=0.5, end=5, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = None
test_cfg = dict()
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1, save_best=None, rule='greater'))
custom_hooks = [
    dict(type='mmbeitv2.ResumeGuardHook'),
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.ThroughputHook'),
]
auto_scale_lr = dict(base_batch_size=32)
