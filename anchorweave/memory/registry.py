"""MEMORIES: every memory system by its name in configs, filled where systems are imported."""

from __future__ import annotations

from typing import Any

# Name -> a `Memory`; its class is not named here, as it takes a config that is made of this.
MEMORIES: dict[str, Any] = {}
