# As beitv2.py, with the codes of tokenizer_kmeans.py.
_base_ = [
    '../_base_/evidence/vit.py',
    '../_base_/evidence/pretraining.py',
]
model = dict(
    tokenizer=dict(
        type='mmbeitv2.KMeansTokenizer',
        target_dims=96,
        img_size=48,
        patch_size=8,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=512),
        teacher=_base_.teacher,
        init_cfg=dict(
            type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/evidence/cpu/tokenizers/kmeans/iter_150.pth'
        ),
    )
)
