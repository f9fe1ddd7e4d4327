"""Families of backbones, and how to find one: by name, backbone, autoencoder or folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pkgutil import resolve_name
from typing import Any

from torch import nn

from anchorweave.models.backbones.base import BackboneCall, Family
from anchorweave.models.backbones.sizes import BackboneSizes
from anchorweave.models.codec.base import VideoCodec
from anchorweave.models.families import FAMILIES

__all__ = [
    "BackboneCall",
    "BackboneSizes",
    "Family",
    "families",
    "codec_of",
    "family_in",
    "family_named",
    "family_of",
]


def families() -> dict[str, Family]:
    """All registered families (`anchorweave/models/families.py`), by name."""
    return {name: _loaded(entry.backbone) for name, entry in FAMILIES.items()}


@cache
def _loaded(place: str) -> Family:
    return resolve_name(place)()


def family_of(backbone: nn.Module) -> Family:
    """The family of a backbone.

    Raises:
        ValueError: an unknown family.
    """
    for family in families().values():
        if isinstance(backbone, family.parts["transformer"]):
            return family
    raise ValueError(
        f"a {type(backbone).__name__} is not a backbone of a known family ({', '.join(FAMILIES)}); "
        "anchorweave/README.md explains how to add one"
    )


def family_named(transformer: str) -> Family:
    """The family with this backbone class name, as written in model folders.

    Raises:
        ValueError: an unknown family.
    """
    for family in families().values():
        if family.parts["transformer"].__name__ == transformer:
            return family
        if transformer in family.unfit:
            raise ValueError(f"{transformer} is not supported: {family.unfit[transformer]}")
    names = ", ".join(family.parts["transformer"].__name__ for family in families().values())
    raise ValueError(f"{transformer} is not a backbone of a known family; known are {names}")


def family_in(index: Mapping[str, Any], where: object) -> Family:
    """The family of a model folder by its `model_index.json`.

    Args:
        index: its contents, which list a `transformer`.
        where: the folder, for messages.

    Raises:
        ValueError: an unknown family, or an unsupported variant.
    """
    try:
        family = family_named(str(index["transformer"][1]))
        family.check_index(index)
    except ValueError as error:
        raise ValueError(f"the model {where} is not supported: {error}") from error
    return family


def codec_of(vae: nn.Module) -> VideoCodec:
    """Wraps an autoencoder in the codec of its family.

    Raises:
        ValueError: an autoencoder of an unknown family.
    """
    for family in families().values():
        if isinstance(vae, family.parts["vae"]):
            return family.codec(vae)
    raise ValueError(
        f"a {type(vae).__name__} is not an autoencoder of a known family ({', '.join(FAMILIES)})"
    )
