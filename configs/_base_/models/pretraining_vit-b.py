# Paper, section 2.3 and table 9; names and sizes as beitv2_base_patch16_224 of the release. The inheriting file sets
# the tokenizer.
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
        drop_path_rate=0.0,
        init_rule='pretraining',
    ),
    # The rest is taken from the backbone and the tokenizer.
    neck=dict(type='mmbeitv2.CLSAggregationNeck', depth=2),
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
