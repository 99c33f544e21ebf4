#!/usr/bin/env bash
# Trains on several GPUs, on one node or more:  tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# More nodes: NNODES=2 NODE_RANK=0 MASTER_ADDR=... tools/dist_train.sh ... on each.   Slurm: srun python tools/train.py
# CONFIG --launcher slurm
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]" >&2
  exit 2
fi
config=$1 gpus=$2
shift 2
exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
