#!/usr/bin/env bash
# Checks style, then runs all tests, a process a core (at most 8, or TEST_PROCESSES); on a machine with a GPU those of tests/gpu after
# them, alone. With arguments, which go to pytest, in one process: bash scripts/test.sh -k splat; TEST_GPU=1 bash scripts/test.sh tests/gpu
set -euo pipefail
. scripts/setup.sh
"$PYTHON" -m ruff check . && "$PYTHON" -m ruff format --check .
[ $# -eq 0 ] || exec "$PYTHON" -m pytest "$@"
cores=$(getconf _NPROCESSORS_ONLN)
# processes that each use all cores wait for each other
OMP_NUM_THREADS=1 "$PYTHON" -m pytest -n "${TEST_PROCESSES:-$((cores < 8 ? cores : 8))}" --dist worksteal
if command -v nvidia-smi > /dev/null; then TEST_GPU=1 "$PYTHON" -m pytest tests/gpu; fi
