# The tokenizer that configs/evidence/tokenizer.py trains, frozen.
vqkd = dict(
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
    quantizer=dict(
        type='mmbeitv2.NormEMAVectorQuantizer', num_codes=512, code_dim=16, beta=1.0, decay=0.99, dead_code_steps=20
    ),
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
    target_dims=96,
    init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/evidence/cpu/tokenizers/vqkd/iter_1000.pth'),
)
