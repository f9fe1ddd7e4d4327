#!/usr/bin/env bash
# The explorer: view, navigate, extend and edit a memory in the browser. Prints its address.
# Arguments are overrides a.b=c: bash scripts/explore.sh memory.path=outputs/tiny/memory
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m inference.explore "$@"
