# VQ-KD (paper, table 8) for the study of docs/evidence.md: 512 codes. The inheriting config sets the teacher.
_base_ = ['../models/vqkd_vit-b.py', 'training.py', 'adamw.py']
model = dict(
    encoder=dict(arch=dict(embed_dims=128, depth=6, num_heads=4), img_size=48, patch_size=8),
    quantizer=dict(num_codes=512, code_dim=16, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
)
train_dataloader = dict(
    collate_fn=dict(type='mmbeitv2.stack_samples'), dataset=dict(**_base_.images, pipeline=_base_.train_pipeline)
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.99), weight_decay=1e-4))
custom_hooks = [
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.CodebookHook'),
]
