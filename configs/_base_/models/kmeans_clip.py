# Ours, not in the paper: k-means of the features that VQ-KD learns to rebuild; codes and teacher as in the paper.
kmeans = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'),
    img_size=224,
    patch_size=16,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
)
