#!/usr/bin/env bash
# DDP on several nodes: sbatch --nodes=4 --gpus-per-node=8 scripts/train_slurm.sh config=configs/train/cogvideox_5b.yaml
# 300 s before its time is over the run saves and ends; a requeued job goes on (resume=latest).
#SBATCH --ntasks-per-node=1 --exclusive --requeue --open-mode=append --signal=USR1@300
set -euo pipefail
. scripts/setup.sh
HOST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} PYTHON HOST
# The launcher would die of the warning that is meant for the ranks, so it is started deaf to it.
srun bash -c 'trap "" USR1; exec "$PYTHON" -m torch.distributed.run --nnodes "$SLURM_NNODES" \
  --nproc-per-node "$SLURM_GPUS_ON_NODE" --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d \
  --rdzv-endpoint "$HOST:29500" -m training.train "$@"' train "$@"
