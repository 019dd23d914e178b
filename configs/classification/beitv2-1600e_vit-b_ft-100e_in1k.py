# Paper, table 10, ViT-B: fine-tuning on ImageNet-1k, 100 epochs.
_base_ = ['../_base_/datasets/imagenet_finetuning.py', '../_base_/default_runtime.py']
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch='base',
        img_size=224,
        patch_size=16,
        out_type='avg_featmap',
        final_norm='fc_norm',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth'),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02 * 0.001, a=-0.002, b=0.002),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
# eta_min_ratio, not eta_min: each depth falls to the same share of its own rate (1e-6 of 5e-4).
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-3, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=2e-3,
        T_max=80,
        by_epoch=True,
        begin=20,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'), visualization=dict(type='VisualizationHook'))
visualizer = dict(type='UniversalVisualizer')
