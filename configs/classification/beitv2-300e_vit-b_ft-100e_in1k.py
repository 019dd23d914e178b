# Paper, table 10, ViT-B pretrained for 300 epochs: fine-tuning on ImageNet-1k, 100 epochs.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_300e/epoch_300.pth')))
