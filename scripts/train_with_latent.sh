#!/usr/bin/env bash
# Trains on prepared, precomputed clips; run again, it resumes. Arguments are overrides a.b=c:
#   bash scripts/train_with_latent.sh data.train=outputs/prepared steps=500
# PROCESSES=8 trains on as many GPUs (DDP); ACCELERATE_CONFIG names another file of configs/accelerate/:
#   PROCESSES=8 bash scripts/train_with_latent.sh config=configs/train/cogvideox_5b.yaml
#   ACCELERATE_CONFIG=configs/accelerate/eight_gpus_fsdp2.yaml bash scripts/train_with_latent.sh config=configs/train/spmem.yaml
set -euo pipefail
. scripts/setup.sh
[ -z "${PROCESSES:-}" ] || : "${ACCELERATE_CONFIG:=configs/accelerate/eight_gpus_ddp.yaml}"
LAUNCH=(${ACCELERATE_CONFIG:+training.engine.processes --config_file "$ACCELERATE_CONFIG" ${PROCESSES:+--num_processes "$PROCESSES"} -m})
exec "$PYTHON" -m "${LAUNCH[@]}" training.train "$@"
