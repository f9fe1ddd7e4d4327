#!/usr/bin/env bash
# The main task: hold out a stretch of a posed video, store the rest in memory, generate it, measure.
# Arguments are overrides a.b=c: bash scripts/inference.sh source=my_recording config=configs/cogvideox_5b.yaml
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m inference.sample "$@"
