# VQ-KD (paper, table 8) small enough for a CPU: CIFAR-10 at 48x48 pixels with 36 patches, 512 codes. The teacher is a
# MobileNetV2 of timm with ImageNet weights, its map of stride 16 at 96 pixels, one feature for each patch.
_base_ = [
    '../_base_/models/vqkd_vit-b.py',
    '../_base_/datasets/cifar10_tokenizer.py',
    '../_base_/schedules/vqkd_adamw.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=48, patch_size=8),
    quantizer=dict(num_codes=512, code_dim=16, dead_code_steps=20),
    decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
)
val_evaluator, test_evaluator = None, dict(num_codes=512)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=200, by_epoch=False, begin=50, end=250),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=250)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=250, save_best=None, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
test_cfg = dict()
