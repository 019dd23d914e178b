# Paper, section 2.2: CLIP ViT-B/16 as teacher.
_base_ = 'vqkd_vit-b.py'
model = dict(teacher=dict(type='mmbeitv2.OpenCLIPTeacher', model='ViT-B-16-quickgelu', pretrained='openai'))
