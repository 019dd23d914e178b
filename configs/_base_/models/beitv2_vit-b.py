# Paper, table 9, ViT-B, with the released tokenizer.
_base_ = ['pretraining_vit-b.py', 'vqkd_clip.py']
model = dict(tokenizer=_base_.vqkd)
