# As dinov3_vit-b_adapt.py with LoRA, see beitv2_vit-b_adapt-lora.py. timm's weights stay as they are.
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmbeitv2.LoRABackbone',
        module=_base_.model.backbone,
        alpha=16,
        rank=16,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
        trained=['mask_token'],
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
