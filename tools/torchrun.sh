#!/usr/bin/env bash
# Starts the processes of dist_train.sh and dist_test.sh by torchrun: torchrun.sh SCRIPT GPUS ARGS...
set -euo pipefail
script="$(dirname "$0")/$1" gpus=$2
shift 2
if ! [[ $gpus =~ ^[0-9]+$ ]]; then
  echo "$(basename "$script"): error: the number of GPUs must be a whole number, not '$gpus'" >&2
  exit 1
fi
for word in "$@"; do
  if [ "$word" = --help ] || [ "$word" = -h ]; then exec python "$script" --help; fi
done
python "$script" "$@" --only-parse  # what is wrong with the options is said once
processes=$(( gpus > 1 ? gpus : 1 ))
nodes=${NNODES:-1} address=${MASTER_ADDR:-127.0.0.1} port=${PORT:-29500} seconds=${RDZV_TIMEOUT:-900}
if [ "$nodes" != 1 ]; then
  echo "machine ${NODE_RANK:-0} of $nodes waits for the others at $address:$port, at most $seconds s (RDZV_TIMEOUT)" >&2
fi
cores=$(OMP_NUM_THREADS='' nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( (cores + processes - 1) / processes ))}  # on CPU they share the cores
exec python -m torch.distributed.run --nnodes "$nodes" --node-rank "${NODE_RANK:-0}" --nproc-per-node "$processes" \
  --master-addr "$address" --master-port "$port" --rdzv-conf "timeout=$seconds" "$script" "$@" --launcher pytorch
