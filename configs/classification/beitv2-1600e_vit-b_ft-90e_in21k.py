# Intermediate fine-tuning on ImageNet-21k, ViT-B (paper, section 3.2; numbers of the reference's README);
# batch 4096 on 32 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
num_classes = 21841
model = dict(head=dict(num_classes=num_classes))
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ImageNet21k',
        data_root='data/imagenet21k',
        split='train',
        pipeline={{_base_.train_pipeline}},
    )
)
# Not scored while it trains, as in the reference.
val_dataloader, val_evaluator, val_cfg = None, None, None
# ImageNet-21k has no validation set; tools/test.py scores class folders of one's own.
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmbeitv2.ImageFolder',
        data_root='data/imagenet21k',
        data_prefix='val',
        with_label=True,
        pipeline={{_base_.test_pipeline}},
    )
)
optim_wrapper = dict(optimizer=dict(lr=6e-4), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00166667, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.00166667,
        T_max=70,
        by_epoch=True,
        begin=20,
        end=90,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=90)
default_hooks = dict(checkpoint=dict(save_best=None))
auto_scale_lr = dict(base_batch_size=4096)
