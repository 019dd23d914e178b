# VQ-KD (paper, table 8) for the study of docs/evidence.md: 512 codes, one feature of the teacher for each patch.
_base_ = '../_base_/evidence/tokenizer.py'
model = dict(teacher=_base_.teacher)
