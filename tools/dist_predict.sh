#!/usr/bin/env bash
# Predicts images on several GPUs, or with several processes on CPU (0 GPUs mean one process):
#   tools/dist_predict.sh CONFIG CHECKPOINT GPUS INPUT... --out DIR [options of predict.py]
# Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
: "${4:?usage: tools/dist_predict.sh CONFIG CHECKPOINT GPUS INPUT... --out DIR [options of predict.py]}"
exec bash "$(dirname "$0")/torchrun.sh" predict.py "$3" "$1" "$2" "${@:4}"
