#!/usr/bin/env bash
# The explorer: a memory in the browser, to see, walk, go on with and edit. Prints its address.
# Arguments are overrides a.b=c: bash scripts/explore.sh memory.path=outputs/tiny/memory
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m inference.explore "$@"
