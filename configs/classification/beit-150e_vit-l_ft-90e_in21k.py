# BEiT (Bao et al. 2021), intermediate fine-tuning on ImageNet-21k, ViT-L (numbers of the reference's README);
# batch 2048 on 32 GPUs.
_base_ = 'beitv2-1600e_vit-b_ft-90e_in21k.py'
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(
        arch='large',
        layer_scale_init_value=1e-05,
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beit_vit-l_150e_in21k/epoch_150.pth'),
    ),
    head=dict(in_channels=1024),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.002), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0005, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.0005,
        T_max=85,
        by_epoch=True,
        begin=5,
        end=90,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=2048)
