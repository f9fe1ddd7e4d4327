#!/usr/bin/env bash
# Trains on prepared, precomputed clips; run again, it resumes. Arguments are overrides a.b=c:
#   bash scripts/train_with_latent.sh data.train=outputs/prepared steps=500
# On several devices, set ACCELERATE_CONFIG to a file of configs/accelerate/:
#   ACCELERATE_CONFIG=configs/accelerate/eight_gpus_ddp.yaml bash scripts/train_with_latent.sh config=configs/train/cogvideox_5b.yaml
set -euo pipefail
. scripts/setup.sh
LAUNCH=(${ACCELERATE_CONFIG:+accelerate.commands.launch --config_file "$ACCELERATE_CONFIG" -m})
exec "$PYTHON" -m "${LAUNCH[@]}" training.train "$@"
