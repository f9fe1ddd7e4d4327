#!/usr/bin/env bash
# Trains anchorweave-tiny from scratch, stage by stage; run again, it continues where it stopped.
# Arguments are overrides a.b=c, and from=STAGE: bash scripts/reproduce_tiny.sh from=controller
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m training.recipe config=configs/anchorweave_tiny/recipe.yaml "$@"
