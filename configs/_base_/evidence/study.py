# The study of docs/evidence.md, wherever it runs: its rows, readings and claims.
camvid = 'data/camvid'
changes = dict()  # of the configs beside this one, by name
warmup = 0.05  # share of the steps of any training
# The learning rate of a row is chosen by a linear probe of held-out training images. Those of `lrs` are tried for
# `sweep_share` of the steps; one more beyond the highest or the lowest, if that is within `sweep_margin` points of the
# best; and all that are within it again for the share of the seeds.
lrs = (5e-4, 1.5e-3, 4.5e-3)
sweep_share = 0.25
sweep_margin = 2
bank_step = 2  # k-NN and linear probe learn from every second training image
# Fine-tuning with one label of `step`. A learning rate for each row is chosen with 10 %, on held-out training images,
# from those of `finetuning_lrs` and one more beyond the highest or the lowest if that is the best.
finetuning = {
    '1': dict(step=100, steps=150),
    '10': dict(step=10, steps=250),
    '100': dict(step=1, steps=1000),
}
finetuning_lrs = (1e-3, 4e-3)
segmentation = dict(steps=600, lr=2e-3)

# A row is a way to pretrain, or none. It runs once for all of the steps, with all readings, and for each of its `seeds`
# (one, if it does not say) for a share of the steps, read frozen and, if there are several, by fine-tuning with 10 %.
# `encoder` tells how its ViT is read. `lr` fixes the learning rate; without it, `lr_of` names a row that has the same.
# Of rows with `frozen_only`, only frozen features are read.
seed_share = 0.5
no_neck = dict(model=dict(backbone=dict(out_indices=(-1,)), neck=None))
random_mask = dict(
    train_dataloader=dict(
        dataset=dict(
            pipeline=[
                dict(type='mmbeitv2.SeedSample'),
                dict(type='mmbeitv2.LoadImage'),
                dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
                dict(type='RandomFlip', prob=0.5),
                dict(type='mmbeitv2.RandomMaskGenerator', grid_size=6, num_masked=14),
                dict(type='mmbeitv2.PackMaskedImage'),
            ]
        )
    )
)
rows = dict(
    scratch=dict(title='from scratch', encoder='scratch', seeds=3),
    beitv2=dict(title='BEiT v2', config='beitv2', tokenizer='vqkd', encoder='beitv2', seeds=3),
    features=dict(title='masked features of the teacher', config='features', encoder='beitv2', seeds=3),
    distillation=dict(
        title="the teacher's features, distilled",
        config='features',
        options=dict(model=dict(type='mmbeitv2.FeatureDistillation')),
        encoder='beitv2',
        seeds=3,
    ),
    mae=dict(title='MAE (mmpretrain)', config='mae', encoder='mmpretrain', seeds=3),
    no_aggregation=dict(
        title='BEiT v2 without aggregation',
        config='beitv2',
        options=no_neck,
        tokenizer='vqkd',
        encoder='beitv2',
        seeds=3,
    ),
    pixel_codes=dict(
        title='BEiT: codes of a tokenizer of pixels',
        config='beitv2',
        options=no_neck,
        tokenizer='pixels',
        encoder='beitv2',
        seeds=3,
    ),
    vqkd=dict(title="the tokenizer's encoder (table 6)", tokenizer='vqkd', encoder='vqkd'),
    teacher=dict(title='the teacher', encoder='teacher', frozen_only=True),
    supervised=dict(
        title='supervised on the labels', config='finetune_scratch', encoder='supervised', frozen_only=True
    ),
    simmim=dict(title='SimMIM (mmpretrain)', config='simmim', encoder='mmpretrain'),
    maskfeat=dict(title='MaskFeat (mmpretrain)', config='maskfeat', encoder='mmpretrain'),
    mocov3=dict(title='MoCo v3 (mmpretrain)', config='mocov3', encoder='mmpretrain'),
    timm_scratch=dict(title="timm's DINOv3, from scratch", encoder='timm_scratch', frozen_only=True),
    timm=dict(
        title="timm's DINOv3, by BEiT v2",
        config='beitv2_timm',
        tokenizer='vqkd',
        encoder='timm',
        lr_of='beitv2',
        frozen_only=True,
        seeds=0,
    ),
)
# Parts of BEiT v2, each in turn replaced, for the seeds only. Those that a claim hangs on have learning rates, seeds
# and readings of their own.
variant = dict(
    config='beitv2', tokenizer='vqkd', encoder='beitv2', seeds=1, full=False, lr_of='beitv2', frozen_only=True
)
claimed = dict(seeds=3, lr_of=None, lr=None, frozen_only=False)
variants = dict(
    random_mask=dict(title='single patches masked (blocks)', options=random_mask, **claimed),
    all_patches=dict(
        title='loss on visible patches too', options=dict(model=dict(type='mmbeitv2.BEiTv2OnAllPatches')), **claimed
    ),
    kmeans=dict(title='codes by k-means (VQ-KD)', config='kmeans', tokenizer='kmeans', **claimed),
)
# What a claim of the paper, or of others, compares: the first row should be better than the second.
claims = [
    ('Pretraining helps', 'beitv2', 'scratch'),
    ('Semantic codes beat pixels (MAE)', 'beitv2', 'mae'),
    ('Semantic codes beat codes of pixels (BEiT)', 'no_aggregation', 'pixel_codes'),
    ('Patch aggregation helps', 'beitv2', 'no_aggregation'),
    ('Codes beat the features that they stand for, masked', 'no_aggregation', 'features'),
    ("Masked codes beat the direct distillation of the teacher's features", 'beitv2', 'distillation'),
    ('Blocks beat single patches', 'beitv2', 'random_mask'),
    ('The loss on visible patches helps (TIPSv2)', 'all_patches', 'beitv2'),
    ('VQ-KD beats k-means', 'beitv2', 'kmeans'),
]
