# As beitv2.py without aggregation, predicting the teacher's features of the masked patches instead of codes.
_base_ = './beitv2.py'
model = dict(
    backbone=dict(out_indices=(-1,)),
    neck=None,
    head=dict(_delete_=True, type='mmbeitv2.FeatureHead'),
    tokenizer=dict(
        _delete_=True,
        type='mmbeitv2.TeacherAsTokenizer',
        img_size=48,
        patch_size=8,
        teacher=_base_.teacher,
    ),
)
