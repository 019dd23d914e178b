# Your own images: clusters of the patch features of a model of timm, which the inheriting config names; one pass over
# the images, batch 512 on 8 GPUs. data/own holds images/, nested to any depth.
_base_ = [
    'models/kmeans_vit-b.py',
    'datasets/imagenet_tokenizer.py',
    'schedules/kmeans_1e.py',
    'tokenizer_runtime.py',
]
data_root = 'data/own'
model = dict(teacher=dict(type='mmbeitv2.TimmTeacher', pretrained=True, img_size=224))
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='images'))
test_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='images'))
val_dataloader, val_evaluator, val_cfg = None, None, None
