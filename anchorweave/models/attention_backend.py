"""Which kernel computes attention, in both backbone and controller."""

from __future__ import annotations

from diffusers.models.attention_dispatch import attention_backend
from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController

# The names that diffusers has for them.
BACKENDS = {
    "cudnn": "_native_cudnn",
    "flash": "_native_flash",
    "efficient": "_native_efficient",
    "math": "_native_math",
    "flash_attn": "flash",
    "sage": "sage",
}


def use_attention(backbone: nn.Module, controller: WeavingController | None, name: str) -> None:
    """Choose what computes attention: one of torch's kernels or a package.

    Args:
        backbone: of any family.
        controller: made for it, or None.
        name: one of `BACKENDS`.

    Raises:
        ValueError: an unknown one, or a package that is not installed or does not fit.
    """
    if name not in BACKENDS:
        raise ValueError(f"attention_backend is one of {', '.join(BACKENDS)}; met {name!r}")
    try:
        # diffusers makes it the whole process's as well; leaving this puts that back.
        with attention_backend():
            family_of(backbone).use_attention(backbone, BACKENDS[name])
            if controller is not None:
                controller.set_attention_backend(BACKENDS[name])
    except (RuntimeError, ImportError) as error:
        raise ValueError(f"attention_backend={name} cannot be had here: {error}") from error
