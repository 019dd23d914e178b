# As segment.py with LoRA of rank 8 in all linear layers of the frozen ViT.
_base_ = './segment.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.LoRAModel',
        module=_base_.model.backbone,
        alpha=8,
        rank=8,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
