# Paper, table 3: robustness, ViT-L on ImageNet-R, scored over its 200 classes.
_base_ = 'beitv2-1600e_vit-l_ft-50e_in1k.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmbeitv2.ImageNetVariant',
        data_root='data/imagenet-r',
        pipeline={{_base_.test_pipeline}},
    )
)
test_evaluator = dict(type='mmbeitv2.SubsetAccuracy')
