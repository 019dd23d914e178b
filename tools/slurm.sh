#!/usr/bin/env bash
# Starts the processes of slurm_train.sh and slurm_test.sh, one per GPU: slurm.sh SCRIPT PARTITION JOB_NAME ARGS...
set -euo pipefail
script=$1 partition=$2 job=$3
shift 3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$(( gpus < 8 ? gpus : 8 ))}
# shellcheck disable=SC2086 # SRUN_ARGS are several words
exec srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
  --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  bash -c 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    export MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostname "$SLURM_NODELIST" | head -n 1)}
    export MASTER_PORT=${MASTER_PORT:-29500}
    exec python -u "$@" --launcher pytorch' _ "$(dirname "$0")/$script" "$@"
