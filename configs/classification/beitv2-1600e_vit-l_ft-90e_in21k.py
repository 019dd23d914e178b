# Intermediate fine-tuning on ImageNet-21k, ViT-L (paper, section 3.2; numbers of the reference's README);
# batch 4096 on 32 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet21k_finetuning.py',
    '../_base_/schedules/finetuning_90e_in21k.py',
    '../_base_/classification_runtime.py',
]
model = dict(head=dict(num_classes=21841))
default_hooks = dict(checkpoint=dict(save_best=None))
