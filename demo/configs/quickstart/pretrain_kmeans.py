# Ours, not in the paper: pretrain.py with the codes of tokenizer_kmeans.py.
custom_imports = dict(imports=['demo.small_clip'], allow_failed_imports=False)
_base_ = 'pretrain.py'
model = dict(
    tokenizer=dict(
        _delete_=True,
        type='mmbeitv2.KMeansTokenizer',
        teacher=dict(type='mmbeitv2.SmallCLIPTeacher', pretrained='work_dirs/quickstart/teacher/small_clip.pth'),
        img_size=48,
        patch_size=8,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=64, dead_code_steps=20),
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/quickstart/tokenizer_kmeans/epoch_1.pth'),
    )
)
