# BEiT (Bao et al. 2021): UperNet on ADE20K at 640x640 after ImageNet-21k, ViT-B (reference, config).
_base_ = 'beitv2-1600e-in21k_vit-b_upernet_160k_ade20k-512x512_release.py'
crop_size = (640, 640)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        img_size=640,
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-b_ft-90e_in21k/epoch_90.pth'),
    ),
    test_cfg=dict(crop_size=crop_size, stride=(426, 426)),
)
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[3].update(scale=(2560, 640))
train_pipeline[4].update(crop_size=crop_size)
test_pipeline[1].update(scale=(2560, 640))
tta_pipeline[1]['transforms'][0] = [
    dict(type='Resize', scale=(width, width // 4), keep_ratio=True) for width in (1280, 1920, 2560, 3200, 3840, 4480)
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=3e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
