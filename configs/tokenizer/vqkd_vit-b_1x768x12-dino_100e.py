# Paper, table 6: DINO as teacher; vqkd_encoder_base_decoder_1x768x12_dino of the release.
_base_ = [
    '../_base_/models/vqkd_vit-b.py',
    '../_base_/datasets/imagenet_tokenizer.py',
    '../_base_/schedules/vqkd_100e.py',
    '../_base_/vqkd_runtime.py',
]
model = dict(
    decoder=dict(arch=dict(depth=1)),
    teacher=dict(type='mmbeitv2.TimmTeacher', model='vit_base_patch16_224.dino'),
)
