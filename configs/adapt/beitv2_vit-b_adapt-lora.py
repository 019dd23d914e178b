# Ours: beitv2_vit-b_adapt.py with LoRA (Hu et al. 2021) of rank 16 in all linear layers of the encoder. The mask token,
# the patch aggregation and the head are trained whole. Not tuned; docs/guides/adapt.md explains it.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_pt_release')
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmbeitv2.LoRABackbone',
        # Loaded whenever the model is built: checkpoints of the run do not hold it.
        module=dict(_base_.model.backbone, drop_path_rate=0.1, init_cfg=weights),
        alpha=16,
        rank=16,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')],
        trained=['mask_token'],
    ),
    init_cfg=dict(**weights, reinit_head=False),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
