# Ours, not in the paper: mini-batch spherical k-means (Sculley 2010) of the features that VQ-KD learns to rebuild; as
# many codes as in the paper. The inheriting config sets the teacher.
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    img_size=224,
    patch_size=16,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
