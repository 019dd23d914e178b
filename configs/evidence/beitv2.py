# BEiT v2 (paper, section 2.3) for the study of docs/evidence.md: 14 of 36 patches masked, l = 4 of 6 layers.
_base_ = [
    '../_base_/evidence/vit.py',
    '../_base_/evidence/vqkd.py',
    '../_base_/evidence/pretraining.py',
]
model = dict(tokenizer=_base_.vqkd)
