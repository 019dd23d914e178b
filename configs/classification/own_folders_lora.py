# Ours: own_folders.py with few weights to train: LoRA (Hu et al. 2021) of rank 16 in all linear layers of the encoder,
# and the classifier. Not tuned; docs/guides/finetune.md explains it.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/own_folders.py',
    '../_base_/schedules/own_folders_30e.py',
    '../_base_/classification_runtime.py',
]
num_classes = 2
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_ft-in21k_release')
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.LoRAModel',
        module=dict(_base_.model.backbone, init_cfg=weights),
        alpha=16,
        rank=16,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
    ),
    head=dict(num_classes=num_classes),
)
data_preprocessor = dict(num_classes=num_classes)
# Few weights learn at a higher rate, the same in all layers.
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
