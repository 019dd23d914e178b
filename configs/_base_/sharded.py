# Parameters, gradients and optimizer state spread over the GPUs, for models that do not fit on one.
runner_type = 'FlexibleRunner'
strategy = dict(type='mmbeitv2.FullyShardStrategy')
