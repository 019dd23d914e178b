# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k at 512x512 (reference, README and --input_size).
_base_ = 'beit-150e-in21k_vit-l_ft-30e_in1k.py'
model = dict(backbone=dict(img_size=512))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(scale=512)
test_pipeline[1].update(scale=512)
test_pipeline[2].update(crop_size=512)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
