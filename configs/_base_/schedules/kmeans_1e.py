# Ours: one pass over the images, without gradients.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='mmbeitv2.NoOptimizer'))
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
