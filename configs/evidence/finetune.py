# Fine-tuning (paper, table 10) for the study of docs/evidence.md, of the ViTs of this package.
_base_ = '../_base_/evidence/finetuning.py'
weights = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/evidence/cpu/beitv2/full/pretrain/iter_2000.pth')
model = dict(backbone=dict(**_base_.vit, init_cfg=weights))
