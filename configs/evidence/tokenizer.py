# VQ-KD (paper, table 8) for the study of docs/evidence.md: 512 codes, a MobileNetV2 of timm with ImageNet weights as
# teacher, its map of stride 16 at 96 pixels, one feature for each patch.
_base_ = '../_base_/evidence.py'
model = dict(
    type='mmbeitv2.VQKD',
    encoder=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=48,
        patch_size=8,
        out_type='featmap',
        final_norm='fc_norm',
        use_abs_pos_emb=True,
        rel_pos_bias='none',
        layer_scale_init_value=0.0,
    ),
    quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=512, code_dim=16, dead_code_steps=20),
    decoder=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=128, depth=1, num_heads=4),
        img_size=6,
        patch_size=1,
        in_channels=16,
        out_type='featmap',
        final_norm='fc_norm',
        use_abs_pos_emb=True,
        rel_pos_bias='none',
        layer_scale_init_value=0.0,
    ),
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
train_dataloader = dict(collate_fn=dict(type='mmbeitv2.stack_samples'))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.99), weight_decay=1e-4))
custom_hooks = [
    dict(type='mmbeitv2.SeedStepHook'),
    dict(type='mmbeitv2.NonFiniteLossHook'),
    dict(type='mmbeitv2.CodebookHook'),
]
