# VQ-KD (paper, table 8) small enough for a CPU: CIFAR-10 at 48x48 pixels with 36 patches, 512 codes. The teacher is a
# MobileNetV2 of timm with ImageNet weights, its map of stride 16 at 96 pixels, one feature for each patch.
_base_ = '../quickstart/tokenizer.py'
model = dict(
    quantizer=dict(num_codes=512),
    teacher=dict(
        _delete_=True, type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3
    ),
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmbeitv2.SeededInfiniteSampler'), dataset=dict(data_root='data/cifar10')
)
test_dataloader = dict(dataset=dict(data_root='data/cifar10'))
test_evaluator = dict(num_codes=512)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=200, by_epoch=False, begin=50, end=250),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=250)
default_hooks = dict(logger=dict(interval=50, log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=250))
log_processor = dict(by_epoch=False)
