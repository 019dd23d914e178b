# Intermediate fine-tuning on ImageNet-21k, ViT-L (paper, section 3.2; numbers of the reference's README);
# batch 4096 on 32 GPUs.
_base_ = 'beitv2-1600e_vit-b_ft-90e_in21k.py'
model = dict(
    backbone=dict(
        arch='large',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    head=dict(in_channels=1024),
)
