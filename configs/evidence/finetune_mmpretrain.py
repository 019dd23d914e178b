# As finetune.py, of the ViTs of mmpretrain.
_base_ = '../_base_/evidence/finetuning.py'
model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        out_type='avg_featmap',
        final_norm=False,  # the mean has a norm of its own
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/evidence/cpu/mae/full/pretrain/iter_2000.pth', prefix='backbone.'
        ),
    )
)
