"""Which of diffusers' caches (`enable_cache`) stay correct when a controller is woven in."""

from __future__ import annotations

from diffusers import PyramidAttentionBroadcastConfig
from torch import nn

# They skip attention inside the blocks, where nothing is woven in.
FITS = (PyramidAttentionBroadcastConfig,)


def check_cache(backbone: nn.Module) -> None:
    """Refuse a cache that skips blocks or samples, to which features would be added all the same.

    Args:
        backbone: of any family.

    Raises:
        ValueError: a cache of such a kind.
    """
    cache = getattr(backbone, "_cache_config", None)
    if cache is None or isinstance(cache, FITS):
        return
    raise ValueError(
        f"the backbone has a {type(cache).__name__}, which skips whole blocks or half of a batch, "
        "and what is woven in there would be added all the same; use "
        f"{' or '.join(kind.__name__ for kind in FITS)}, or backbone.disable_cache()"
    )
