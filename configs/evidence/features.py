# As beitv2.py without aggregation, predicting the teacher's features of the masked patches instead of codes.
_base_ = [
    '../_base_/evidence/vit.py',
    '../_base_/evidence/pretraining.py',
]
model = dict(
    backbone=dict(out_indices=(-1,)),
    neck=None,
    head=dict(type='mmbeitv2.FeatureHead'),
    tokenizer=dict(
        type='mmbeitv2.TeacherAsTokenizer',
        img_size=48,
        patch_size=8,
        teacher=_base_.teacher,
    ),
)
