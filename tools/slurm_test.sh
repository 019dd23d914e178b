#!/usr/bin/env bash
# Scores under Slurm, one process per GPU:
#   GPUS=16 GPUS_PER_NODE=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
# CPUS_PER_TASK and SRUN_ARGS go to srun.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]" >&2
  exit 2
fi
partition=$1 job=$2
shift 2
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$(( gpus < 8 ? gpus : 8 ))}
# shellcheck disable=SC2086 # SRUN_ARGS are several words
exec srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
  --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  python -u "$(dirname "$0")/test.py" "$@" --launcher slurm
