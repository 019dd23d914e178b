# ViT-S, which is not in the paper, with the released tokenizer.
_base_ = ['pretraining_vit-b.py', 'vqkd_clip.py']
model = dict(backbone=dict(arch='small'), tokenizer=_base_.vqkd)
