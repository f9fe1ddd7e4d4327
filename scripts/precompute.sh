#!/usr/bin/env bash
# Encodes prepared clips to latents and text features, which training reads.
# Arguments are overrides a.b=c: bash scripts/precompute.sh data=outputs/mine model.path=pretrained/X
# Several GPUs: prefix the command with LAUNCH="accelerate.commands.launch --multi_gpu --num_processes 8".
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m ${LAUNCH:+$LAUNCH -m} training.precompute_latents "$@"
