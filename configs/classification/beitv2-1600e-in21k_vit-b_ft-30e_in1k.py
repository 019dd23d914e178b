# Fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B, without mixing images (numbers of the reference's README).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_30e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
