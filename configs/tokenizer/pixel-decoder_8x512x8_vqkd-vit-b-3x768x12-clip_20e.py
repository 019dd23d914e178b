# Ours, not in the paper: pixels from the codes of vqkd_vit-b_3x768x12-clip_100e.py, to look at; decoder as MAE's.
_base_ = [
    '../_base_/models/vqkd_clip.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='mmbeitv2.PixelDecoder',
    tokenizer=_base_.vqkd,
    decoder=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=512, depth=8, num_heads=8),
        img_size=14,
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
val_evaluator = dict(type='mmbeitv2.PeakSignalNoiseRatio')
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0005, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, T_max=19, by_epoch=True, begin=1, end=20, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(save_best='pixels/psnr', rule='greater'))
