# The quickstart's tokenizer with 8192 codes and the moving average of the paper, scored each epoch: for the study of
# dead codes.
_base_ = 'tokenizer.py'
model = dict(quantizer=dict(num_codes=8192, decay=0.99, dead_code_steps=20))
# k-means wants as many patches in the first batch as there are codes: 256 x 36 = 9216.
train_dataloader = dict(batch_size=256)
val_dataloader = dict(**_base_.test_dataloader, _delete_=True)
val_evaluator = dict(_delete_=True, type='mmbeitv2.CodebookMetric', num_codes=8192)
test_dataloader = dict(**_base_.test_dataloader, _delete_=True)
test_evaluator = val_evaluator
val_cfg = dict(_delete_=True)
train_cfg = dict(val_interval=1)
default_hooks = dict(checkpoint=dict(save_best='tokenizer/reconstruction_loss', rule='less'))
auto_scale_lr = dict(base_batch_size=256)
