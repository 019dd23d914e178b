# Scores a pretraining on a CPU by the masked codes that it predicts: the inheriting config sets images and pipeline.
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_prefix='val'),
)
test_evaluator = dict(type='mmbeitv2.MaskedTokenAccuracy')
test_cfg = dict()
