#!/usr/bin/env bash
# Runs one table of a paper: trains what its rows need, generates, measures, compares with the paper.
# TABLE is a file of configs/ablations/ (without .yaml), then overrides a.b=c: bash scripts/ablate.sh spatia_table7
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m training.ablate "table=${1:-}" "${@:2}"
