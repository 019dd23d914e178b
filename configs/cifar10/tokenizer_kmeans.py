# Ours, not in the paper: k-means of the features of the teacher of tokenizer.py, over 2016 images.
_base_ = [
    '../_base_/models/kmeans_vit-b.py',
    '../_base_/datasets/cifar10_tokenizer.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
    img_size=48,
    patch_size=8,
    quantizer=dict(num_codes=512, dead_code_steps=20),
)
val_evaluator, test_evaluator = None, dict(num_codes=512)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
param_scheduler = None
train_cfg = dict(type='IterBasedTrainLoop', max_iters=63)
test_cfg = dict()
default_hooks = dict(
    logger=dict(interval=21, log_metric_by_epoch=False),
    checkpoint=dict(interval=63, max_keep_ckpts=1, save_best=None, rule='less', by_epoch=False),
)
log_processor = dict(by_epoch=False)
