#!/usr/bin/env bash
# Scores a checkpoint under Slurm; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS go to srun:
#   GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
: "${4:?usage: GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]}"
exec bash "$(dirname "$0")/slurm.sh" test.py "$@"
