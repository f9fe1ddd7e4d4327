#!/usr/bin/env bash
# Recordings to prepared clips: target videos, and the anchors that memory has for them.
# Arguments are overrides a.b=c: bash scripts/prepare_data.sh source=RECORDINGS output=outputs/mine
# Several processes: LAUNCH="torch.distributed.run --nproc_per_node 16" before bash.
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m ${LAUNCH:+$LAUNCH -m} training.prepare_clips "$@"
