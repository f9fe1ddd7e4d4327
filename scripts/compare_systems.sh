#!/usr/bin/env bash
# Trains and measures the four memory systems on anchorweave-tiny's backbone; run again, it continues.
# Arguments are overrides a.b=c, and from=STAGE: bash scripts/compare_systems.sh from=spmem
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m training.recipe config=configs/anchorweave_tiny/systems/recipe.yaml "$@"
