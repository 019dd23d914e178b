# Fine-tuning on ImageNet-1k after ImageNet-21k, ViT-L, without mixing images (numbers of the reference's README).
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_20e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(
        drop_path_rate=0.25, init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth')
    ),
    train_cfg=dict(augments=None),
)
