# Ours, not in the paper: the recipe of table 9 with a k-means tokenizer, whose teacher is run in pretraining too.
_base_ = ['../beitv2_vit-b_300e.py', '../_base_/models/kmeans_clip.py']
model = dict(
    tokenizer=dict(
        **_base_.kmeans,
        _delete_=True,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/kmeans_vit-b-clip_1e/epoch_1.pth'),
    )
)
