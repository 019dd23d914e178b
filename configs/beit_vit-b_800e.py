# BEiT (Bao et al. 2021), table 10, 800 epochs.
_base_ = [
    '_base_/models/beit_vit-b.py',
    '_base_/datasets/beit_pretraining.py',
    '_base_/schedules/beit_800e.py',
    '_base_/default_runtime.py',
]
