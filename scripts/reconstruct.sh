#!/usr/bin/env bash
# Estimates the cameras of plain videos: folder of videos -> folder of recordings.
# Arguments are overrides a.b=c: bash scripts/reconstruct.sh source=videos output=data/mine
# Several processes, which share the cores: PROCESSES=16 bash scripts/reconstruct.sh source=...
set -euo pipefail
. scripts/setup.sh
LAUNCH=(${PROCESSES:+training.engine.processes "$PROCESSES"})
exec "$PYTHON" -m "${LAUNCH[@]}" training.reconstruct_recordings "$@"
