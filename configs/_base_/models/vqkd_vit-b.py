# Paper, section 2.2 and table 8.
_base_ = 'tokenizer_vit-b.py'
model = dict(
    **_base_.tokenizer,
    teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
)
