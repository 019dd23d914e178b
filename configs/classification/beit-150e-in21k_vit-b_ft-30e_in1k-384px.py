# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k at 384x384 (reference, README and --input_size).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning_384px.py',
    '../_base_/schedules/beit_finetuning_30e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(img_size=384, init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=512)
