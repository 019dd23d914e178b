# Paper, section 2.3 and table 9; names and sizes as beitv2_base_patch16_224 of the release. The tokenizer is
# vqkd_encoder_base_decoder_3x768x12_clip of the release.
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=224,
        patch_size=16,
        out_indices=(8, 11),  # layers l and L, counted from 0
        out_type='raw',
        final_norm='norm',
        rel_pos_bias='shared',
        use_mask_token=True,
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_rule='pretraining',
    ),
    # The rest is taken from the backbone and the tokenizer.
    neck=dict(type='mmbeitv2.CLSAggregationNeck', depth=2),
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    tokenizer=dict(
        type='mmbeitv2.VQKD',
        encoder=dict(
            type='mmbeitv2.BEiTv2ViT',
            arch=dict(embed_dims=768, depth=12, num_heads=12),
            img_size=224,
            patch_size=16,
            out_type='featmap',
            final_norm='fc_norm',
            use_abs_pos_emb=True,
            rel_pos_bias='none',
            layer_scale_init_value=0.0,
        ),
        quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=8192, code_dim=32, beta=1.0, decay=0.99),
        decoder=dict(
            type='mmbeitv2.BEiTv2ViT',
            arch=dict(embed_dims=768, depth=3, num_heads=12),
            img_size=14,
            patch_size=1,
            in_channels=32,
            out_type='featmap',
            final_norm='fc_norm',
            use_abs_pos_emb=True,
            rel_pos_bias='none',
            layer_scale_init_value=0.0,
        ),
        target_dims=512,
        # The released file by its name in the zoo (docs/model_zoo.md); or the path of a checkpoint of one's own.
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='vqkd-base_3x768x12-clip_release'),
    ),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
