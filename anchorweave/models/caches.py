"""Which of diffusers' caches (`enable_cache`) remain correct with a controller woven in."""

from __future__ import annotations

from diffusers import PyramidAttentionBroadcastConfig
from torch import nn

# They only skip attention inside blocks, where nothing is woven in.
FITS = (PyramidAttentionBroadcastConfig,)


def check_cache(backbone: nn.Module) -> None:
    """Refuses a cache that skips blocks or samples, because features would still be added.

    Args:
        backbone: of any family.

    Raises:
        ValueError: such a cache is enabled.
    """
    cache = getattr(backbone, "_cache_config", None)
    if cache is None or isinstance(cache, FITS):
        return
    raise ValueError(
        f"the backbone has a {type(cache).__name__}, which skips whole blocks or half of a batch, "
        "although woven-in features would still be added; use "
        f"{' or '.join(kind.__name__ for kind in FITS)}, or backbone.disable_cache()"
    )
