# Your own images: clusters of the patch features of timm's DINOv3 ViT-B/16, which are the codes of
# dinov3_vit-b_adapt.py; one pass over the images, batch 512 on 8 GPUs. data/own holds images/, nested to any
# depth.
_base_ = [
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/kmeans_1e.py',
    '../_base_/tokenizer_runtime.py',
]
data_root = 'data/own'
model = dict(
    type='mmbeitv2.KMeansTokenizer',
    teacher=dict(type='mmbeitv2.TimmTeacher', model='vit_base_patch16_dinov3.lvd1689m', pretrained=True, img_size=224),
    img_size=224,
    patch_size=16,
    quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=8192, dead_code_steps=100),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True
    ),
)
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='images'))
val_dataloader = None
val_evaluator = None
val_cfg = None
test_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='images'))
