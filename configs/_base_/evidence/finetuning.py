# Fine-tuning (paper, table 10) for the study of docs/evidence.md. The inheriting config sets the backbone.
_base_ = ['training.py', 'adamw.py']
# The ViTs of this package.
vit = dict(
    type='mmbeitv2.BEiTv2ViT',
    arch=dict(embed_dims=128, depth=6, num_heads=4),
    img_size=48,
    patch_size=8,
    out_type='avg_featmap',
    final_norm='fc_norm',
    rel_pos_bias='per_layer',
    layer_scale_init_value=0,
)
model = dict(
    type='ImageClassifier',
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, loss=dict(type='CrossEntropyLoss')),
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
)
# tools/evidence.py sets the share of the labels; settings are chosen on other images of the training split.
labeled = dict(type='mmbeitv2.EveryNth', data_root='data/cifar10')
train_dataloader = dict(
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(
        **labeled,
        data_prefix='train',
        step=1,
        pipeline=[*_base_.load, _base_.crop, _base_.flip, dict(type='PackInputs')],
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(
        **labeled,
        data_prefix='val',
        step=1,
        offset=0,
        test_mode=True,
        pipeline=[
            dict(type='mmbeitv2.LoadImage'),
            dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
            dict(type='PackInputs'),
        ],
    ),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)), paramwise_cfg=dict(layer_decay_rate=0.8))
