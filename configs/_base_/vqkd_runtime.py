# As tokenizer_runtime.py, for VQ-KD: keeps the best tokenizer.
_base_ = 'tokenizer_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='tokenizer/reconstruction_loss', rule='less'))
