#!/usr/bin/env bash
# Prepares clips from recordings: target videos, and the anchors retrieved for them.
# Arguments are overrides a.b=c: bash scripts/prepare_data.sh source=RECORDINGS output=outputs/mine
# Several processes: prefix the command with LAUNCH="torch.distributed.run --nproc_per_node 16".
set -euo pipefail
. scripts/setup.sh
exec "$PYTHON" -m ${LAUNCH:+$LAUNCH -m} training.prepare_clips "$@"
