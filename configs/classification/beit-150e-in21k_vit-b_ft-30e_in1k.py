# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B (numbers of the reference's README);
# batch 512 on 8 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/beit_finetuning_30e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=512)
