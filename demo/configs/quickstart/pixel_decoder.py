# Ours: the pixel decoder at the size of the quickstart's tokenizer.
_base_ = '../../../configs/tokenizer/pixel-decoder_8x512x8_vqkd-vit-b-3x768x12-clip_20e.py'
model = dict(
    tokenizer=dict(
        encoder=dict(arch=dict(_delete_=True, embed_dims=192, depth=2, num_heads=6), img_size=48, patch_size=8),
        quantizer=dict(num_codes=64),
        decoder=dict(arch=dict(embed_dims=192, depth=1, num_heads=6), img_size=6),
        target_dims=128,
        init_cfg=dict(checkpoint='work_dirs/quickstart/tokenizer/epoch_4.pth'),
    ),
    decoder=dict(arch=dict(embed_dims=128, depth=3, num_heads=4), img_size=6),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
data_root = 'work_dirs/quickstart/sample/imagenet'
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=val_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, T_max=4.5, by_epoch=True, begin=0.5, end=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=5)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
