# Paper, table 11, ViT-B, with the 640x640 crops and the stride of BEiT (reference,
# beit/.../upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py): neither paper nor release trains BEiT v2 at this size.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'
crop_size = (640, 640)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(img_size=640),
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
