# Ours: own_dataset.py with LoRA, see ../classification/own_folders_lora.py. UperNet is trained whole.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/own_dataset.py',
    '../_base_/schedules/own_dataset_20k.py',
    '../_base_/segmentation_runtime.py',
]
num_classes = 2  # as many as classes.txt has lines
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
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes),
)
optim_wrapper = dict(optimizer=dict(lr=4e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
default_hooks = dict(checkpoint=dict(interval=2000))
