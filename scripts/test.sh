#!/usr/bin/env bash
# Checks style, then runs all tests, with one process per core (at most 8, or TEST_PROCESSES).
# Arguments are passed to pytest, in one process: bash scripts/test.sh -k splat; on a GPU: TEST_GPU=1 bash scripts/test.sh tests/gpu
set -euo pipefail
. scripts/setup.sh
if [ $# -eq 0 ]; then
  export OMP_NUM_THREADS=1 # processes that each use all cores wait for each other
  cores=$(getconf _NPROCESSORS_ONLN)
  set -- -n "${TEST_PROCESSES:-$((cores < 8 ? cores : 8))}" --dist worksteal
fi
"$PYTHON" -m ruff check . && "$PYTHON" -m ruff format --check . && exec "$PYTHON" -m pytest "$@"
