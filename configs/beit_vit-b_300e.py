# BEiT (Bao et al. 2021), table 10, at 300 epochs: DALL-E's encoder as tokenizer, no patch aggregation.
_base_ = [
    '_base_/models/beit_vit-b.py',
    '_base_/datasets/beit_pretraining.py',
    '_base_/schedules/beitv2_300e.py',
    '_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))
