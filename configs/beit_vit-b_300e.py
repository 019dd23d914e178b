# BEiT (Bao et al. 2021), table 10, at 300 epochs: DALL-E's encoder as tokenizer, no patch aggregation.
_base_ = [
    '_base_/models/beitv2_vit-b.py',
    '_base_/datasets/imagenet_pretraining.py',
    '_base_/schedules/beitv2_1600e.py',
    '_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_indices=(11,)),
    neck=None,
    tokenizer=dict(
        _delete_=True,
        type='mmbeitv2.DALLETokenizer',
        # mmpretrain's conversion of OpenAI's encoder.
        init_cfg=dict(
            type='mmbeitv2.PretrainedBEiTv2',
            checkpoint='https://mmassets.onedl.ai/mmselfsup/1.x/target_generator_ckpt/dalle_encoder.pth',
        ),
    ),
    data_preprocessor=dict(view_size=112),
    tokenizer_precision='float32',  # as the release of BEiT runs it
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=14, num_masked=75, min_block=16),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=290, by_epoch=True, begin=10, end=300, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=300)
