# Paper, table 6: DINO as teacher; vqkd_encoder_base_decoder_1x768x12_dino of the release.
_base_ = 'vqkd_vit-b_3x768x12-clip_100e.py'
model = dict(
    decoder=dict(arch=dict(depth=1)),
    teacher=dict(_delete_=True, type='mmbeitv2.TimmTeacher', model='vit_base_patch16_224.dino'),
)
