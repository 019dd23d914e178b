# Ours, not in the paper: k-means of the features of the teacher of tokenizer.py, over 2016 images.
_base_ = 'tokenizer.py'
model = dict(
    _delete_=True,
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
    img_size=48,
    patch_size=8,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=512, dead_code_steps=20),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
param_scheduler = None
train_cfg = dict(max_iters=63)
default_hooks = dict(logger=dict(interval=21), checkpoint=dict(interval=63))
