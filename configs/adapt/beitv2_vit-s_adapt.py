# As beitv2_vit-b_adapt.py, where the settings are explained, for ViT-S/16, of which none was
# released: from a run of beitv2_vit-s_1600e.py.
_base_ = 'beitv2_vit-b_adapt.py'
model = dict(backbone=dict(arch='small'), init_cfg=dict(checkpoint='work_dirs/beitv2_vit-s_1600e/epoch_1600.pth'))
