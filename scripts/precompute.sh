#!/usr/bin/env bash
# Prepared clips to latents and text features, which training reads.
# Arguments are overrides a.b=c: bash scripts/precompute.sh data=outputs/mine model.path=pretrained/X
# Several GPUs: LAUNCH="accelerate.commands.launch --multi_gpu --num_processes 8" before bash.
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m ${LAUNCH:+$LAUNCH -m} training.precompute_latents "$@"
