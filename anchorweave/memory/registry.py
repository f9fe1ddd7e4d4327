"""MEMORIES: memory systems by their name in configs; systems register when imported."""

from __future__ import annotations

from typing import Any

# Name -> a `Memory` subclass; typed as Any, because its config is built from this registry.
MEMORIES: dict[str, Any] = {}
