# Ours, not in the paper: pretrain.py with the codes of tokenizer_kmeans.py.
_base_ = [
    '../_base_/models/pretraining_vit-b.py',
    '../_base_/cifar10_pretraining.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=192, depth=3, num_heads=6),
        img_size=48,
        patch_size=8,
        out_indices=(1, 2),
        layer_scale_init_value=0,
    ),
    tokenizer=dict(
        type='mmbeitv2.KMeansTokenizer',
        teacher=dict(type='mmbeitv2.TimmTeacher', model='mobilenetv2_100', pretrained=True, img_size=96, out_index=3),
        img_size=48,
        patch_size=8,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=512, dead_code_steps=20),
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/cifar10/tokenizer_kmeans/iter_63.pth'),
    ),
)
