"""Selects the attention kernel of both backbone and controller."""

from __future__ import annotations

from diffusers.models.attention_dispatch import attention_backend
from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController

# diffusers' names for them.
BACKENDS = {
    "cudnn": "_native_cudnn",
    "flash": "_native_flash",
    "efficient": "_native_efficient",
    "math": "_native_math",
    "flash_attn": "flash",
    "sage": "sage",
}


def use_attention(backbone: nn.Module, controller: WeavingController | None, name: str) -> None:
    """Selects an attention implementation: one of torch's kernels or a package.

    Args:
        backbone: of any family.
        controller: made for it, or None.
        name: one of `BACKENDS`.

    Raises:
        ValueError: an unknown name, or a package that is not installed or does not support this
            setup.
    """
    if name not in BACKENDS:
        raise ValueError(f"attention_backend is one of {', '.join(BACKENDS)}; got {name!r}")
    try:
        # diffusers also sets it process-wide; leaving this context restores the previous one.
        with attention_backend():
            family_of(backbone).use_attention(backbone, BACKENDS[name])
            if controller is not None:
                controller.set_attention_backend(BACKENDS[name])
    except (RuntimeError, ImportError) as error:
        raise ValueError(f"attention_backend={name} is not available here: {error}") from error
