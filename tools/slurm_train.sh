#!/usr/bin/env bash
# Trains under Slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS go to srun:
#   GPUS=16 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
: "${3:?usage: GPUS=16 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]}"
exec bash "$(dirname "$0")/slurm.sh" train.py "$@"
