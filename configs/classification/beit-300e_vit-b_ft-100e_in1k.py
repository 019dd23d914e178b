# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after 300 epochs on it, ViT-B (numbers of mmpretrain's config).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/beit_finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_300e/epoch_300.pth')))
