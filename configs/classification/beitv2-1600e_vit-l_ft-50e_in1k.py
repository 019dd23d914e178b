# Paper, table 10, ViT-L: fine-tuning on ImageNet-1k, 50 epochs.
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_50e.py',
    '../_base_/classification_runtime.py',
]
