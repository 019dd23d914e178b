# Paper, section 3.2: linear probe of the CLS token after 1600 epochs.
_base_ = 'beitv2-300e_vit-b_linear-100e_in1k.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth')))
