# Paper, table 8, at the size of the sample set: 48x48 images of 6x6 patches, 64 codes, a small CLIP as teacher.
# Wide and shallow, with initial weights for this width: so small a budget of steps teaches little to a deep, narrow ViT
# whose weights start at the standard deviation of 0.02, which suits a width of 768.
custom_imports = dict(imports=['demo.clip'], allow_failed_imports=False)
_base_ = [
    '../../../configs/_base_/models/vqkd_vit-b.py',
    '../../../configs/_base_/datasets/imagenet_tokenizer.py',
    '../../../configs/_base_/schedules/vqkd_100e.py',
    '../../../configs/_base_/tokenizer_runtime.py',
    '../_base_/small_init.py',
]
model = dict(
    encoder=dict(
        arch=dict(embed_dims=192, depth=2, num_heads=6),
        img_size=48,
        patch_size=8,
        init_cfg=_base_.small_init,
    ),
    quantizer=dict(num_codes=64, decay=0.9, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=192, depth=1, num_heads=6), img_size=6, init_cfg=_base_.small_init),
    teacher=dict(type='mmbeitv2.SmallCLIPTeacher', pretrained='work_dirs/quickstart/teacher/small_clip.pth'),
    init_cfg=_base_.small_init[0],
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
data_root = 'work_dirs/quickstart/sample/imagenet'
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=val_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=3.5, by_epoch=True, begin=0.5, end=4, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=16)
