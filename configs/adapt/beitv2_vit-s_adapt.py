# As beitv2_vit-b_adapt.py, where the settings are explained, for ViT-S/16, of which none was
# released: from a run of beitv2_vit-s_1600e.py.
_base_ = [
    '../_base_/models/beitv2_vit-s.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
model = dict(
    backbone=dict(drop_path_rate=0.1),
    init_cfg=dict(
        type='mmbeitv2.PretrainedBEiTv2',
        checkpoint='work_dirs/beitv2_vit-s_1600e/epoch_1600.pth',
        reinit_head=False,
    ),
)
