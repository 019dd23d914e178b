# Ours: k-means of the features of the teacher of tokenizer.py.
_base_ = '../_base_/evidence/training.py'
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=_base_.teacher,
    img_size=48,
    patch_size=8,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=512, dead_code_steps=20),
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
train_dataloader = dict(
    collate_fn=dict(type='mmbeitv2.stack_samples'), dataset=dict(**_base_.images, pipeline=_base_.train_pipeline)
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
custom_hooks = [dict(type='mmbeitv2.SeedStepHook')]
