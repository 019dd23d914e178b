# Segmentation at the size of the sample set: 48x48 crops. The inheriting config sets the initial weights.
_base_ = [
    '../../../configs/_base_/datasets/ade20k_512x512.py',
    '../../../configs/_base_/schedules/upernet_160k.py',
    '../../../configs/_base_/segmentation_runtime.py',
]
classes = ('arrow', 'crescent', 'cross', 'disc', 'flower', 'heart', 'hexagon', 'ring', 'square', 'star')
classes += ('tree', 'triangle', 'brick', 'grass', 'sand', 'water', 'wood')
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(48, 48),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=192, depth=3, num_heads=6),
        img_size=48,
        patch_size=8,
        out_indices=(0, 1, 2),
        out_type='featmap',
        final_norm='none',
        use_abs_pos_emb=True,
        rel_pos_bias='per_layer',
        layer_scale_init_value=0,
        drop_path_rate=0.1,
    ),
    # Each patch becomes 2x2 features. In so few steps UperNet finds no object; SegFormer's head does.
    neck=dict(type='MultiLevelNeck', in_channels=[192] * 3, out_channels=64, scales=[2, 2, 2], norm_cfg=norm_cfg),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[64] * 3,
        in_index=[0, 1, 2],
        channels=128,
        dropout_ratio=0.0,
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(48, 48), stride=(32, 32)),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.LoadSegLabels', num_classes=len(classes)),
    dict(type='RandomResize', scale=(2048, 48), ratio_range=(1.0, 1.4), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 48), cat_max_ratio=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
load_labels = dict(type='LoadAnnotations', _scope_='mmbeitv2', num_classes=len(classes))
test_pipeline = [
    _base_.load_image,
    dict(type='Resize', scale=(2048, 48), keep_ratio=True),
    load_labels,
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    _base_.load_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(2048, side), keep_ratio=True) for side in (24, 48, 72)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [load_labels],
            [dict(type='PackSegInputs')],
        ],
    ),
]
# mmseg's ADE20KDataset allows no other classes than its own; this one reads the same layout.
dataset = dict(
    type='BaseSegDataset',
    data_root='work_dirs/quickstart/sample/ade20k',
    metainfo=dict(classes=classes, palette=[[37 * i % 256, 91 * i % 256, 173 * i % 256] for i in range(1, 18)]),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    reduce_zero_label=True,
)
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(**dataset, pipeline=train_pipeline))
test_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(**dataset, pipeline=test_pipeline))
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(layer_decay_rate=1.0, custom_keys=dict(relative_position_bias_table=dict(lr_mult=10))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=20, end=400),
]
train_cfg = dict(max_iters=400)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=400, save_best=None, max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
