# BEiT (Bao et al. 2021): UperNet on ADE20K at 640x640 after ImageNet-21k, ViT-B (reference,
# upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py).
_base_ = [
    '../_base_/models/upernet_vit-b_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-b_ft-90e_in21k/epoch_90.pth')))
optim_wrapper = dict(optimizer=dict(lr=3e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
