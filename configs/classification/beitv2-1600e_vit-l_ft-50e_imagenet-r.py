# Paper, table 3: robustness, ViT-L on ImageNet-R, scored over its 200 classes.
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_variant.py',
    '../_base_/schedules/finetuning_50e.py',
    '../_base_/classification_runtime.py',
]
test_dataloader = dict(dataset=dict(data_root='data/imagenet-r'))
