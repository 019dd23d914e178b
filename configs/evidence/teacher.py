# The teacher itself, frozen, in the place of a ViT.
_base_ = './finetune.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmbeitv2.TeacherBackbone',
        patch_size=8,
        img_size=48,
        teacher=_base_.teacher,
    ),
    data_preprocessor=dict(mean=[0, 0, 0], std=[255, 255, 255]),
)
