# Not in the paper: table 9 with the ViT-S of table 4; the layer l of patch aggregation is that of ViT-B, as deep.
_base_ = 'beitv2_vit-b.py'
model = dict(backbone=dict(arch='small'))
