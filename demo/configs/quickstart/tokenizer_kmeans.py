# Ours, not in the paper: k-means of the teacher's features, at the size of the sample set, in place of tokenizer.py.
_base_ = [
    '../../../configs/_base_/datasets/imagenet_tokenizer.py',
    '../../../configs/_base_/tokenizer_runtime.py',
]
custom_imports = dict(imports=['demo.small_clip'], allow_failed_imports=False)
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.SmallCLIPTeacher', pretrained='work_dirs/quickstart/teacher/small_clip.pth'),
    img_size=48,
    patch_size=8,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=64, dead_code_steps=20),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True
    ),
)
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(data_root='work_dirs/quickstart/sample/imagenet', pipeline=train_pipeline),
)
val_dataloader = None
test_dataloader = dict(
    num_workers=1, dataset=dict(data_root='work_dirs/quickstart/sample/imagenet', pipeline=test_pipeline)
)
val_evaluator = None
test_evaluator = dict(num_codes=64)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
param_scheduler = None
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=5)
val_cfg = None
test_cfg = dict()
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1, save_best=None, rule='less'))
auto_scale_lr = dict(base_batch_size=16)
