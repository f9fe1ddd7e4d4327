"""Content-based identification of everything that a network's result depends on.

Evaluation rows and rollouts store it with their results, and compare it before resuming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from anchorweave.datasets.fingerprint import differences, digest
from anchorweave.memory import MEMORIES
from anchorweave.models.digest import module_digest
from anchorweave.pipelines import WeavingMixin

# Incremented when the files' content changes. Rows of version 1 lack the keys in STATED_LATER.
VERSION = 2
STATED_LATER = (
    *("settings.", "scheduler.", "autoencoder.", "weights.references", "weights.tokenizer"),
    "version",
)
# Settings added after rows had been made, with values equivalent to the old behaviour.
ADDED_LATER = {"family": "cogvideox", "every": 1, "feed_forward": None}
NETWORKS = ("text_encoder", "vae", "transformer", "controller", "references")
# The autoencoder's settings that scale latents; listed individually, because these are the numbers
# that one would look for.
SCALING = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "invert_scale_latents")


def networks_made(pipe: WeavingMixin, used: Sequence[str] = NETWORKS) -> dict[str, Any]:
    """What the networks of a pipeline contribute to the fingerprint of its videos, as dotted keys.

    Args:
        pipe: the pipeline.
        used: the parts in use; all except a lone autoencoder have a noise schedule.

    Returns:
        `weights.PART`, a digest of every weight; `settings.PART`, a digest of the part's config;
        the autoencoder's scaling and every value of the noise schedule individually.
    """
    parts = {name: part for name in used if (part := getattr(pipe, name, None)) is not None}
    made: dict[str, Any] = {f"weights.{name}": module_digest(part) for name, part in parts.items()}
    made |= {f"settings.{name}": digest(_settings(part)) for name, part in parts.items()}
    vae = _settings(pipe.vae)
    made |= {f"autoencoder.{key}": vae[key] for key in SCALING if vae.get(key) is not None}
    if "transformer" in parts:
        made |= {f"scheduler.{key}": v for key, v in _settings(pipe.scheduler).items()}
        made["scheduler.kind"] = type(pipe.scheduler).__name__
        made["weights.tokenizer"] = digest(pipe.tokenizer.get_vocab())
    return made


def without_unused(made: Mapping[str, Any]) -> dict[str, Any]:
    """`made` without the options of unused memory systems: a new system makes no result stale.

    Args:
        made: as dotted keys.
    """
    unused = tuple(f"memory.{kind}." for kind in MEMORIES if kind != made.get("memory.kind"))
    return {key: value for key, value in made.items() if not key.startswith(unused)}


def changed(there: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Differences between what videos were made with and what they would be made with now.

    Returns:
        Differences as text; and keys that the stored record is too old to contain.
    """
    there, now = without_unused(there), without_unused(now)
    unstated: list[str] = []
    if there.get("version") == 1:
        unstated = [key for key in now if key.startswith(STATED_LATER) and key not in there]
        now = {key: value for key, value in now.items() if key not in unstated}
        now["version"] = 1
    return differences(there, now), unstated


def _settings(part: Any) -> dict[str, Any]:
    """A part's config without notes on its origin and writer."""
    config = part.config
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    notes = ("transformers_version", "torch_dtype", "dtype", "architectures")
    settings = {k: v for k, v in values.items() if not k.startswith("_") and k not in notes}
    settings = dict(item for item in settings.items() if item not in list(ADDED_LATER.items()))
    # Tuples and numpy scalars as they would be read back from a file.
    return json.loads(json.dumps(settings, sort_keys=True, default=lambda value: str(value)))
