# The study of docs/evidence.md for two CPU cores; tools/evidence.py runs it.
camvid = 'data/camvid'
clock = 'processor_time'  # of the log, for the seconds of a row
changes = dict()  # of the configs beside this one, by name
steps = 2000  # of a pretraining; 64 images each
warmup = 0.05  # share of the steps of any training
# The learning rate of a row is chosen at a quarter of the steps, by a linear probe of held-out training images.
lrs = (5e-4, 1.5e-3, 4.5e-3)
sweep_share = 0.25
bank_step = 2  # k-NN and linear probe learn from every second training image
# Fine-tuning with one label of `step`; a learning rate for each row is chosen with 10 %, on held-out training images.
finetuning = {
    '1': dict(step=100, steps=150),
    '10': dict(step=10, steps=250),
    '100': dict(step=1, steps=1000),
}
finetuning_lrs = (1e-3, 4e-3)
segmentation = dict(steps=600, lr=2e-3)

# `model` changes the tokenizer's settings, both where it is trained and in pretraining.
vq = dict(_delete_=True, type='mmbeitv2.VectorQuantizePytorch')
tokenizers = dict(
    vqkd=dict(config='tokenizer', steps=1000),
    kmeans=dict(config='tokenizer_kmeans', steps=150),
    pixels=dict(config='tokenizer_pixels', steps=1000, target_dims=192),
    decoder3=dict(config='tokenizer', steps=1000, model=dict(decoder=dict(arch=dict(depth=3)))),
    dim8=dict(config='tokenizer', steps=1000, model=dict(quantizer=dict(code_dim=8), decoder=dict(in_channels=8))),
    dim32=dict(config='tokenizer', steps=1000, model=dict(quantizer=dict(code_dim=32), decoder=dict(in_channels=32))),
    standardized=dict(config='tokenizer', steps=1000, model=dict(teacher=dict(standardize='std'))),
    codes128=dict(config='tokenizer', steps=1000, model=dict(quantizer=dict(num_codes=128))),
    codes2048=dict(config='tokenizer', steps=1000, model=dict(quantizer=dict(num_codes=2048))),
    fsq=dict(
        config='tokenizer', steps=1000, model=dict(quantizer=dict(**vq, quantizer='FSQ', code_dim=16, levels=[8, 8, 8]))
    ),
    lfq=dict(
        config='tokenizer',
        steps=1000,
        model=dict(quantizer=dict(**vq, quantizer='LFQ', code_dim=16, codebook_size=512)),
    ),
    simvq=dict(
        config='tokenizer',
        steps=1000,
        model=dict(quantizer=dict(**vq, quantizer='SimVQ', code_dim=16, codebook_size=512)),
    ),
    residual=dict(
        config='tokenizer',
        steps=1000,
        model=dict(
            quantizer=dict(
                **vq, quantizer='ResidualVQ', code_dim=16, num_quantizers=2, codebook_size=23, kmeans_init=True
            )
        ),
    ),
    product=dict(
        config='tokenizer',
        steps=1000,
        model=dict(
            quantizer=dict(
                **vq,
                quantizer='VectorQuantize',
                code_dim=16,
                heads=2,
                separate_codebook_per_head=True,
                codebook_dim=8,
                codebook_size=23,
                kmeans_init=True,
            )
        ),
    ),
)

# A row is a pretraining with its readings. `encoder` tells how its ViT is read; `lr_of` takes the learning rate of
# another row. Rows with `curve` are also read at a quarter and a half of the steps.
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
    beitv2=dict(title='BEiT v2', config='beitv2', tokenizer='vqkd', encoder='beitv2', seeds=3, curve=True),
    features=dict(title='masked features of the teacher', config='features', encoder='beitv2', seeds=3, curve=True),
    distillation=dict(
        title="the teacher's features, distilled",
        config='features',
        options=dict(model=dict(type='mmbeitv2.FeatureDistillation')),
        encoder='beitv2',
        seeds=3,
        curve=True,
    ),
    mae=dict(title='MAE (mmpretrain)', config='mae', encoder='mmpretrain', seeds=3, curve=True),
    no_aggregation=dict(
        title='BEiT v2 without aggregation',
        config='beitv2',
        options=no_neck,
        tokenizer='vqkd',
        encoder='beitv2',
        seeds=3,
        curve=True,
    ),
    pixel_codes=dict(
        title='BEiT: codes of a tokenizer of pixels',
        config='beitv2',
        options=no_neck,
        tokenizer='pixels',
        encoder='beitv2',
        seeds=3,
        curve=True,
    ),
    kmeans=dict(
        title='BEiT v2, codes by k-means', config='kmeans', tokenizer='kmeans', encoder='beitv2', seeds=3, curve=True
    ),
    random_mask=dict(
        title='BEiT v2, single patches masked',
        config='beitv2',
        options=random_mask,
        tokenizer='vqkd',
        encoder='beitv2',
        seeds=3,
    ),
    all_patches=dict(
        title='BEiT v2, loss on visible patches too',
        config='beitv2',
        options=dict(model=dict(type='mmbeitv2.BEiTv2OnAllPatches')),
        tokenizer='vqkd',
        encoder='beitv2',
        seeds=3,
    ),
    vqkd=dict(title="the tokenizer's encoder (table 6)", tokenizer='vqkd', encoder='vqkd', seeds=1),
    teacher=dict(title='the teacher', encoder='teacher', seeds=1),
    supervised=dict(title='supervised on the labels', config='finetune_scratch', encoder='supervised', seeds=1),
    simmim=dict(title='SimMIM (mmpretrain)', config='simmim', encoder='mmpretrain', seeds=1),
    maskfeat=dict(title='MaskFeat (mmpretrain)', config='maskfeat', encoder='mmpretrain', seeds=1),
    mocov3=dict(title='MoCo v3 (mmpretrain)', config='mocov3', encoder='mmpretrain', seeds=1),
    timm_scratch=dict(title="timm's DINOv3, from scratch", encoder='timm_scratch', seeds=1),
    timm=dict(title="timm's DINOv3, by BEiT v2", config='beitv2_timm', tokenizer='vqkd', encoder='timm', seeds=1),
)
# Tables 4 and 5 of the paper, and quantizers of vector-quantize-pytorch, with what differs from the row beitv2.
variant = dict(config='beitv2', tokenizer='vqkd', encoder='beitv2', seeds=1, lr_of='beitv2')
variants = dict(
    decoder3=dict(title='decoder of depth 3 (1)', tokenizer='decoder3'),
    standardized=dict(title="the teacher's features standardized (as they are)", tokenizer='standardized'),
    dim8=dict(title='code width 8 (16)', tokenizer='dim8'),
    dim32=dict(title='code width 32 (16)', tokenizer='dim32'),
    codes128=dict(title='128 codes (512)', tokenizer='codes128'),
    codes2048=dict(title='2048 codes (512)', tokenizer='codes2048'),
    layer2=dict(title='layer l = 2 (4)', options=dict(model=dict(backbone=dict(out_indices=(1, 5))))),
    layer5=dict(title='layer l = 5 (4)', options=dict(model=dict(backbone=dict(out_indices=(4, 5))))),
    head2=dict(title='aggregation of depth 2 (1)', options=dict(model=dict(neck=dict(depth=2)))),
    unshared=dict(
        title='heads not shared (shared)',
        options=dict(model=dict(neck=dict(shared_head=False), head=dict(shared_head=False))),
    ),
    fsq=dict(title='FSQ, 512 codes', tokenizer='fsq'),
    lfq=dict(title='LFQ, 512 codes', tokenizer='lfq'),
    simvq=dict(title='SimVQ, 512 codes', tokenizer='simvq'),
    residual=dict(title='residual VQ, 23 x 23 codes', tokenizer='residual'),
    product=dict(title='product VQ, 23 x 23 codes', tokenizer='product'),
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
