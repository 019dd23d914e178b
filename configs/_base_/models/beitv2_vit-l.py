# Paper, table 9, ViT-L, with the released tokenizer.
_base_ = ['pretraining_vit-b.py', 'vqkd_clip.py']
model = dict(
    backbone=dict(arch='large', out_indices=(20, 23), layer_scale_init_value=1e-5),
    tokenizer=_base_.vqkd,
)
