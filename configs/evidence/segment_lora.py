# As segment.py with LoRA of rank 8 in all linear layers of the frozen ViT.
_base_ = [
    '../_base_/evidence/upernet.py',
    '../_base_/evidence/segmentation.py',
]
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/evidence/cpu/beitv2/full/pretrain/iter_2000.pth')
model = dict(
    backbone=dict(
        type='mmpretrain.LoRAModel',
        module=dict(**_base_.vit, init_cfg=weights),
        alpha=8,
        rank=8,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
