# Ours, not in the paper: mini-batch spherical k-means (Sculley 2010) of the features of CLIP ViT-B/16.
_base_ = [
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/kmeans_1e.py',
    '../_base_/tokenizer_runtime.py',
]
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'),
    img_size=224,
    patch_size=16,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True
    ),
)
