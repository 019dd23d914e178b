# BEiT (Bao et al. 2021) for the study of docs/evidence.md: a tokenizer that rebuilds the pixels of a patch.
_base_ = '../_base_/evidence/tokenizer.py'
model = dict(teacher=dict(type='mmbeitv2.PixelTeacher', img_size=48, patch_size=8))
