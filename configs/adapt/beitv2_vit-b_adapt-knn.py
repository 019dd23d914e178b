# Ours: beitv2_vit-b_adapt.py, scored by k-nearest neighbors before the first step and every 500. data/own also holds
# labeled images: train/CLASS/*.jpg to compare with, and val/CLASS/*.jpg to score.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
model = dict(
    backbone=dict(drop_path_rate=0.1),
    init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_pt_release', reinit_head=False),
)
score_loader = dict(
    batch_size=64,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
score_dataset = dict(
    type='mmbeitv2.ImageFolder',
    data_root='data/own',
    with_label=True,
    pipeline=[
        dict(type='mmbeitv2.LoadImage'),
        dict(type='mmbeitv2.FitImage', scale=224),
        dict(type='PackInputs'),
    ],
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmbeitv2.KNNHook',
        bank_dataloader=dict(**score_loader, dataset=dict(**score_dataset, data_prefix='train')),
        query_dataloader=dict(**score_loader, dataset=dict(**score_dataset, data_prefix='val')),
        interval=500,
        by_epoch=False,
        score_start=True,
        # The best weights are kept; the run stops after three scores in a row below the first.
        keep_best=True,
        patience=3,
    ),
]
