"""The registry of reference networks, which feed reference frames to the backbone."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.whole import load_whole

ReferenceNetwork = ReferenceTokens | HistoricalAttention

REFERENCE_NETWORKS = {"tokens": ReferenceTokens, "attention": HistoricalAttention}


def load_reference_network(folder: str | Path, **loading) -> ReferenceNetwork:
    """Loads a saved reference network of any kind.

    Args:
        folder: a folder with diffusers' `config.json`, which names the class.
        **loading: arguments of diffusers' `from_pretrained`.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder with another network, or with missing weights.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no reference network at {folder}: it has no config.json")
    name = json.loads(path.read_text()).get("_class_name")
    kinds = {kind.__name__: kind for kind in REFERENCE_NETWORKS.values()}
    if name not in kinds:
        raise ValueError(f"{folder} contains a {name}, expected one of {', '.join(kinds)}")
    return load_whole(kinds[name], folder, **loading)
