# Initial weights of a ViT of width 192 that learns in few steps: for init_cfg of its parts.
small_init = [
    dict(type='Xavier', layer='Linear', distribution='uniform'),
    dict(type='Normal', layer='Conv2d', std=0.3),  # the patch embedding
]
