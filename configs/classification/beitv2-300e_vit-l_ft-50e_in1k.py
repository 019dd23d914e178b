# Paper, table 10, ViT-L pretrained for 300 epochs: fine-tuning on ImageNet-1k, 50 epochs.
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_50e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_300e/epoch_300.pth')))
