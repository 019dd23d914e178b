# Paper, table 9, ViT-L, 1600 epochs; parameters and optimizer state spread over the GPUs.
_base_ = ['beitv2_vit-l_1600e.py', '_base_/sharded.py']
