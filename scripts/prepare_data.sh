#!/usr/bin/env bash
# Prepares clips from recordings: target videos, and the anchors retrieved for them.
# Arguments are overrides a.b=c: bash scripts/prepare_data.sh source=RECORDINGS output=outputs/mine
# Several processes, one a core: PROCESSES=16 bash scripts/prepare_data.sh source=...
set -euo pipefail
[ -z "${LAUNCH:-}" ] || { echo "LAUNCH=... is now PROCESSES=N, the number of processes" >&2; exit 2; }
. scripts/setup.sh
LAUNCH=(${PROCESSES:+training.engine.processes "$PROCESSES"})
exec "$PYTHON" -m "${LAUNCH[@]}" training.prepare_clips "$@"
