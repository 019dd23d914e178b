# Paper, table 3: robustness, ViT-B on ImageNet-Sketch, scored over all 1000 classes.
_base_ = 'beitv2-1600e_vit-b_ft-100e_in1k.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmbeitv2.ImageNetVariant',
        data_root='data/imagenet-sketch',
        pipeline={{_base_.test_pipeline}},
    )
)
test_evaluator = dict(type='mmbeitv2.SubsetAccuracy')
