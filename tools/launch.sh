#!/usr/bin/env bash
# Starts the processes of dist_train.sh and dist_test.sh: launch.sh SCRIPT PROCESSES ARGS...
set -euo pipefail
script=$1 processes=$2
shift 2
case $processes in
  ''|*[!0-9]*) echo "the number of GPUs must be a whole number, not '$processes'" >&2; exit 2 ;;
esac
[ "$processes" -gt 0 ] || processes=1
# torchrun gives each process one thread unless told otherwise; on CPU they share the cores. Two runs on one machine need
# different values of PORT.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(nproc) + processes - 1) / processes ))}
exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$processes" \
  "$(dirname "$0")/$script" "$@" --launcher pytorch
