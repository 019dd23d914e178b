# BEiT (Bao et al. 2021): UperNet on ADE20K at 512x512 right after pretraining on ImageNet-21k, ViT-B (reference,
# upernet_beit_base_12_512_slide_160k_ade20k_pt.py).
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_150e_in21k/epoch_150.pth')))
optim_wrapper = dict(optimizer=dict(lr=7e-4), paramwise_cfg=dict(layer_decay_rate=0.65))
