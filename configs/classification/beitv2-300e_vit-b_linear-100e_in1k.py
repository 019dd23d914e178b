# Paper, section 3.2 and table 5: linear probe of the CLS token; schedule of BEiT's released linear evaluation.
_base_ = [
    '../_base_/models/linear_probe_vit-b.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/linear_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_300e/epoch_300.pth')))
