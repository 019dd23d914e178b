# Paper, table 11, ViT-B, with the 640x640 crops and the stride of BEiT (reference,
# beit/.../upernet_beit_base_12_640_slide_160k_ade20k_pt2ft.py): neither paper nor release trains BEiT v2 at this size.
_base_ = [
    '../_base_/models/upernet_vit-b_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
