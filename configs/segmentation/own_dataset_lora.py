# Ours: own_dataset.py with LoRA, see ../classification/own_folders_lora.py. UperNet is trained whole.
_base_ = 'own_dataset.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.LoRAModel',
        module=_base_.model.backbone,
        alpha=16,
        rank=16,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
