# Ours, not in the paper: the recipe of table 9 with a k-means tokenizer, whose teacher is run in pretraining too.
_base_ = [
    '../_base_/models/pretraining_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    tokenizer=dict(
        type='mmbeitv2.KMeansTokenizer',
        teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'),
        img_size=224,
        patch_size=16,
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/kmeans_vit-b-clip_1e/epoch_1.pth'),
    )
)
