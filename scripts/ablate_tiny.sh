#!/usr/bin/env bash
# Trains, generates and measures every row of anchorweave-tiny's table; run again, it continues.
# Arguments are overrides a.b=c, and from=STAGE: bash scripts/ablate_tiny.sh from=evaluate
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m training.recipe config=configs/anchorweave_tiny/ablations.yaml "$@"
