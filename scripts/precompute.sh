#!/usr/bin/env bash
# Encodes prepared clips to latents and text features, which training reads.
# Arguments are overrides a.b=c: bash scripts/precompute.sh data=outputs/mine model.path=pretrained/X
# Several processes, one a GPU: PROCESSES=8 bash scripts/precompute.sh data=...
set -euo pipefail
[ -z "${LAUNCH:-}" ] || { echo "LAUNCH=... is now PROCESSES=N, the number of processes" >&2; exit 2; }
. scripts/setup.sh
LAUNCH=(${PROCESSES:+training.engine.processes "$PROCESSES"})
exec "$PYTHON" -m "${LAUNCH[@]}" training.precompute_latents "$@"
