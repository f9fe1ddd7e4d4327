#!/usr/bin/env bash
# One table of a paper, ours beside the paper's: trains what its rows lack, generates, measures.
# TABLE is a file of configs/ablations/ (without .yaml), then overrides a.b=c: bash scripts/ablate.sh spatia_table7
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m training.ablate "table=${1:-}" "${@:2}"
