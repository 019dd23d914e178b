#!/usr/bin/env bash
# Scores a checkpoint on several GPUs, or with several processes on CPU (0 GPUs mean one process):
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of test.py]
# Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
: "${3:?usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of test.py]}"
exec bash "$(dirname "$0")/torchrun.sh" test.py "$3" "$1" "$2" "${@:4}"
