#!/usr/bin/env bash
# Trains on several GPUs, or with several processes on CPU (0 GPUs mean one process):
#   tools/dist_train.sh CONFIG GPUS [options of train.py]
# Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
: "${2:?usage: tools/dist_train.sh CONFIG GPUS [options of train.py]}"
exec bash "$(dirname "$0")/torchrun.sh" train.py "$2" "$1" "${@:3}"
