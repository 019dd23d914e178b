# Paper, section 2.3 and table 9; names and sizes as beitv2_base_patch16_224 of the release.
_base_ = 'tokenizer_vit-b.py'
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch='base',
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
        **_base_.tokenizer,
        target_dims=512,
        # The released file by its name in the zoo (docs/model_zoo.md); or the path of a checkpoint of one's own.
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='vqkd-base_3x768x12-clip_release'),
    ),
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
