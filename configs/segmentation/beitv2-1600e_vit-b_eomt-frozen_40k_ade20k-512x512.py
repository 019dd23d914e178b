# As beitv2-1600e_vit-b_eomt_40k_ade20k-512x512.py on a frozen ViT-B: the queries pass through trained copies of its
# last three blocks (after PMT, Cavagnero et al. 2026). Ours, not tuned.
_base_ = './beitv2-1600e_vit-b_eomt_40k_ade20k-512x512.py'
model = dict(backbone=dict(frozen_encoder=True))
