# Paper, table 11, ViT-B, with the 640x640 crops and the stride of BEiT (reference,
# beit/.../upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py): neither paper nor release trains BEiT v2 at this size.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(img_size=640),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
