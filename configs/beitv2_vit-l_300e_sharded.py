# Paper, table 9, ViT-L, 300 epochs; parameters and optimizer state spread over the GPUs.
_base_ = ['beitv2_vit-l_300e.py', '_base_/sharded.py']
