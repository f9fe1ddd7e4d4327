#!/usr/bin/env bash
# Long-horizon generation: one image and a trajectory, segment by segment, with a growing memory.
# Arguments are overrides a.b=c: bash scripts/rollout.sh rollout.trajectory='orbit(degrees=90)'
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m inference.rollout "$@"
