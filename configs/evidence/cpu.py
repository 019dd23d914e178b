# The study of docs/evidence.md for two CPU cores; tools/evidence.py runs it.
_base_ = '../_base_/evidence/study.py'
clock = 'processor_time'  # of the log, for the seconds of a row
steps = 2000  # of a pretraining; 64 images each

# `model` changes the tokenizer's settings, both where it is trained and in pretraining.
vq = dict(_delete_=True, type='mmbeitv2.VectorQuantizePytorch')
tokenizers = dict(
    vqkd=dict(config='tokenizer', steps=1000),
    longer=dict(config='tokenizer', steps=3000),
    kmeans=dict(config='tokenizer_kmeans', steps=150),
    pixels=dict(config='tokenizer_pixels', steps=1000, target_dims=193),
    decoder3=dict(config='tokenizer', steps=1000, model=dict(decoder=dict(arch=dict(depth=3)))),
    patchwise=dict(
        config='tokenizer',
        steps=1000,
        model=dict(
            decoder=dict(_delete_=True, type='mmbeitv2.PatchwiseDecoder', in_channels=16, embed_dims=128, img_size=6)
        ),
    ),
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

# They were run before the learning rates had a second round, which chose another one for BEiT v2.
rows = dict(timm=dict(lr=1.5e-3))
variant = dict(lr=1.5e-3)
# Tables 4 and 5 of the paper, and quantizers of vector-quantize-pytorch.
variants = dict(
    slower=dict(title='BEiT v2 at 1.5e-3', seeds=3),
    longer=dict(title='tokenizer of 3000 steps (1000)', tokenizer='longer'),
    decoder3=dict(title='decoder of depth 3 (1)', tokenizer='decoder3'),
    patchwise=dict(title='decoder without attention between patches', tokenizer='patchwise'),
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
    simvq=dict(title='SimVQ, 512 codes', tokenizer='simvq', seeds=3),
    residual=dict(title='residual VQ, 23 x 23 codes', tokenizer='residual'),
    product=dict(title='product VQ, 23 x 23 codes', tokenizer='product', seeds=3),
)
