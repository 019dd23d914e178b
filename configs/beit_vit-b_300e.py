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
    tokenizer_precision='float32',  # as the release of BEiT runs it
    data_preprocessor=dict(view_size=112),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(crop_ratio_range=(0.08, 1.0))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=290, by_epoch=True, begin=10, end=300, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=300)
