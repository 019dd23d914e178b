# The teacher itself, frozen, in the place of a ViT.
_base_ = '../_base_/evidence/finetuning.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.TeacherBackbone',
        img_size=48,
        teacher=_base_.teacher,
    ),
    data_preprocessor=dict(mean=[0, 0, 0], std=[255, 255, 255], to_rgb=True),
)
