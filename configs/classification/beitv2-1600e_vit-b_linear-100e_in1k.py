# Paper, section 3.2: linear probe of the CLS token after 1600 epochs.
_base_ = [
    '../_base_/models/linear_probe_vit-b.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/linear_100e.py',
    '../_base_/classification_runtime.py',
]
