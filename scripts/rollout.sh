#!/usr/bin/env bash
# Long horizon: one image and a trajectory, segment after segment, with a memory that grows.
# Arguments are overrides a.b=c: bash scripts/rollout.sh rollout.trajectory='orbit(degrees=90)'
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m inference.rollout "$@"
