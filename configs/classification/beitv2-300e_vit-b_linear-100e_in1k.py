# Paper, section 3.2 and table 5: linear probe of the CLS token; schedule of BEiT's released linear evaluation.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(
        out_type='cls_token',
        final_norm='norm',
        rel_pos_bias='shared',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_300e/epoch_300.pth'),
        frozen_stages=12,
    ),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss'), init_cfg=dict(std=0.01, a=-2.0, b=2.0)),
    train_cfg=dict(_delete_=True),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    # 1e-3 for a batch of 256; batch 1024 here.
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.999), weight_decay=1e-4),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0, T_max=100, by_epoch=True, begin=0, end=100, convert_to_iter_based=True)
]
