#!/usr/bin/env bash
# Checks style, then runs the tests. Arguments go to pytest: bash scripts/test.sh -k splat
set -euo pipefail
. scripts/setup.sh
"$PYTHON" -m ruff check . && "$PYTHON" -m ruff format --check . && exec "$PYTHON" -m pytest "$@"
