# The study of docs/evidence.md for one GPU: ViT-S with 12 layers, batches of 256, 512 codes. Not run yet.
_base_ = '../_base_/evidence/study.py'
clock = 'time'
steps = 1000
vit = dict(embed_dims=384, depth=12, num_heads=6)
tokenizers = dict(
    vqkd=dict(config='tokenizer', steps=500, model=dict(encoder=dict(arch=vit))),
    kmeans=dict(config='tokenizer_kmeans', steps=40),
    pixels=dict(config='tokenizer_pixels', steps=500, target_dims=193, model=dict(encoder=dict(arch=vit))),
)
variants = dict(
    head2=dict(title='aggregation of depth 2 (1)', options=dict(model=dict(neck=dict(depth=2)))),
    layer6=dict(title='layer l = 6 (9)', options=dict(model=dict(backbone=dict(out_indices=(5, 11))))),
)
loader = dict(batch_size=256, num_workers=2)
amp = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=dict(enabled=False))
rival = dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536)
dinov3 = dict(embed_dim=384, depth=12, num_heads=6)
run = dict(train_dataloader=loader, optim_wrapper=amp)
pretraining = dict(**run, model=dict(backbone=dict(arch=vit, out_indices=(8, 11)), tokenizer_precision='bfloat16'))
single = dict(
    **run, model=dict(backbone=dict(arch=vit, out_indices=(11,)), tokenizer_precision='bfloat16')
)  # without aggregation
classifier = dict(**run, model=dict(backbone=dict(arch=vit), head=dict(in_channels=384)))
wide = dict(neck=dict(embed_dim=384), decode_head=dict(in_channels=[384] * 4), auxiliary_head=dict(in_channels=384))
segmentor = dict(optim_wrapper=amp, train_dataloader=dict(num_workers=2))
layers = dict(out_indices=(3, 5, 7, 11))
changes = dict(
    tokenizer=run,
    tokenizer_pixels=run,
    tokenizer_kmeans=dict(train_dataloader=loader),
    beitv2=pretraining,
    beitv2_timm=dict(**run, model=dict(backbone=dict(**dinov3, out_indices=(8, 11)), tokenizer_precision='bfloat16')),
    kmeans=pretraining,
    features=single,
    mae=dict(**run, model=dict(backbone=dict(arch=rival), neck=dict(embed_dim=384, decoder_embed_dim=192))),
    simmim=dict(**run, model=dict(backbone=dict(arch=rival), neck=dict(in_channels=384))),
    maskfeat=dict(**run, model=dict(backbone=dict(arch=rival), neck=dict(in_channels=384))),
    mocov3=dict(**run, model=dict(backbone=dict(arch=rival), neck=dict(in_channels=384))),
    finetune=classifier,
    finetune_scratch=classifier,
    finetune_mmpretrain=dict(**run, model=dict(backbone=dict(arch=rival), head=dict(in_channels=384))),
    finetune_timm=dict(**run, model=dict(backbone=dinov3, head=dict(in_channels=384))),
    segment=dict(**segmentor, model=dict(backbone=dict(arch=vit, **layers), **wide)),
    segment_scratch=dict(**segmentor, model=dict(backbone=dict(arch=vit, **layers), **wide)),
    segment_mmpretrain=dict(**segmentor, model=dict(backbone=dict(arch=rival, **layers), **wide)),
)
