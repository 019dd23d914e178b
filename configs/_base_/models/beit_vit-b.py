# BEiT (Bao et al. 2021), table 10: DALL-E's encoder as tokenizer, no patch aggregation.
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=224,
        patch_size=16,
        out_indices=(11,),
        out_type='raw',
        final_norm='norm',
        rel_pos_bias='shared',
        use_mask_token=True,
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_rule='pretraining',
    ),
    neck=None,
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    tokenizer=dict(
        type='mmbeitv2.DALLETokenizer',
        # mmpretrain's conversion of OpenAI's encoder.
        init_cfg=dict(
            type='mmbeitv2.PretrainedBEiTv2',
            checkpoint='https://mmassets.onedl.ai/mmselfsup/1.x/target_generator_ckpt/dalle_encoder.pth',
        ),
    ),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor', view_size=112),
    tokenizer_precision='float32',  # as the release of BEiT runs it
)
