# UperNet (paper, table 11) on CamVid, small enough for a CPU: 11 classes, images of 240x180 pixels, 128x128 crops,
# the ViT of pretrain.py, features of strides 8 to 64.
_base_ = [
    '../_base_/models/upernet_camvid.py',
    '../_base_/camvid_segmentation.py',
]
