# Paper, table 7, ViT-B at 384x384 after ImageNet-21k (87.5 %). Its recipe is not published: as at 224x224.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning_384px.py',
    '../_base_/schedules/finetuning_30e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(img_size=384, init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
