"""The ways in which references reach the backbone: the registry of reference networks."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.whole import load_whole

ReferenceNetwork = ReferenceTokens | HistoricalAttention

REFERENCE_NETWORKS = {"tokens": ReferenceTokens, "attention": HistoricalAttention}


def load_reference_network(folder: str | Path, **loading) -> ReferenceNetwork:
    """A saved reference network of either kind.

    Args:
        folder: with diffusers' `config.json`, which names the class.
        **loading: for diffusers' `from_pretrained`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder of another network, or one that lacks weights.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no reference network at {folder}: it has no config.json")
    name = json.loads(path.read_text()).get("_class_name")
    known = {kind.__name__: kind for kind in REFERENCE_NETWORKS.values()}
    if name not in known:
        raise ValueError(f"{folder} holds a {name}, expected one of {', '.join(known)}")
    return load_whole(known[name], folder, **loading)
