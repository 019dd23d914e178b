# Ours: own_folders.py with few weights to train: LoRA (Hu et al. 2021) of rank 16 in all linear layers of the encoder,
# and the classifier. Not tuned; docs/guides/finetune.md explains it.
_base_ = 'own_folders.py'
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
# Few weights learn at a higher rate, the same in all layers.
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
