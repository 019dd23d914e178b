# Ours, not in the paper: k-means of the features of the teacher of tokenizer.py, over 2016 images.
_base_ = [
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
    img_size=48,
    patch_size=8,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=512, dead_code_steps=20),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True
    ),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root='data/cifar10', pipeline=train_pipeline),
)
val_dataloader = None
test_dataloader = dict(num_workers=1, dataset=dict(data_root='data/cifar10', pipeline=test_pipeline))
val_evaluator = None
test_evaluator = dict(num_codes=512)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
param_scheduler = None
train_cfg = dict(type='IterBasedTrainLoop', max_iters=63)
val_cfg = None
test_cfg = dict()
default_hooks = dict(
    logger=dict(interval=21, log_metric_by_epoch=False),
    checkpoint=dict(interval=63, max_keep_ckpts=1, save_best=None, rule='less', by_epoch=False),
)
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=32)
