#!/usr/bin/env bash
# Trains on several nodes; `batch` counts all GPUs together, so it must be a multiple of their number. DDP, and FSDP2:
#   sbatch --nodes=4 --gpus-per-node=8 scripts/train_slurm.sh config=configs/train/cogvideox_5b.yaml batch=32
#   ACCELERATE_CONFIG=configs/accelerate/eight_gpus_fsdp2.yaml sbatch --nodes=2 --gpus-per-node=8 scripts/train_slurm.sh config=... batch=16
# The run saves and ends 300 s before its time limit; a requeued job resumes (resume=latest).
#SBATCH --ntasks-per-node=1 --exclusive --requeue --open-mode=append --signal=USR1@300
set -euo pipefail
. scripts/setup.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} PYTHON HOST PORT=${PORT:-29500}
export ACCELERATE_CONFIG=${ACCELERATE_CONFIG:-configs/accelerate/eight_gpus_ddp.yaml}
HOST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Without this, the launcher would die of the warning signal that is meant for the ranks.
srun bash -c 'trap "" USR1; exec "$PYTHON" -m training.engine.processes --config_file "$ACCELERATE_CONFIG" \
  --num_machines "$SLURM_NNODES" --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) --machine_rank "$SLURM_NODEID" \
  --main_process_ip "$HOST" --main_process_port "$PORT" -m training.train "$@"' train "$@"
