# Ours: beitv2_vit-b_adapt.py, scored by the labels of the nearest patches before the first step and every 500. DIR also
# holds label images, as for configs/segmentation/own_dataset.py: labels/train to compare with, labels/val to score.
_base_ = 'beitv2_vit-b_adapt.py'
data_root = 'data/own'
score_loader = dict(batch_size=64, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=False))
score_dataset = dict(
    type='mmbeitv2.SegFolder',
    data_root=data_root,
    ignored_labels=[],
    pipeline=[
        dict(type='mmbeitv2.LoadImage'),
        dict(type='mmbeitv2.FitImage', scale=224, fit='stretch'),
        dict(type='mmbeitv2.LoadSegLabels'),
        dict(type='mmseg.PackSegInputs'),
    ],
)
bank_prefix = dict(img_path='images/train', seg_map_path='labels/train')
query_prefix = dict(img_path='images/val', seg_map_path='labels/val')
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmbeitv2.PatchKNNHook',
        bank_dataloader=dict(**score_loader, dataset=dict(**score_dataset, data_prefix=bank_prefix)),
        query_dataloader=dict(**score_loader, dataset=dict(**score_dataset, data_prefix=query_prefix)),
        interval=500,
        by_epoch=False,
        score_start=True,
        # The best weights are kept; the run stops after three scores in a row below the first.
        keep_best=True,
        patience=3,
    ),
]
