# Ours, not in the paper: k-means of the teacher's features, at the size of the sample set, in place of tokenizer.py.
_base_ = 'tokenizer.py'
model = dict(
    _delete_=True,
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.SmallCLIPTeacher', pretrained='work_dirs/quickstart/teacher/small_clip.pth'),
    img_size=48,
    patch_size=8,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=64, dead_code_steps=20),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
param_scheduler = None
train_cfg = dict(max_epochs=1)
