"""New networks beside a backbone as `network` describes them, and what it may say of saved ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.historical_attention import HistoricalAttention
from anchorweave.models.make_controller import ControllerOptions
from anchorweave.models.reference_networks import ReferenceNetwork, load_reference_network
from anchorweave.models.reference_tokens import ReferenceTokens
from training.network_options import NetworkConfig

# Of SPMem's released cross-attention.
HEAD_DIM, INTERVAL, REFERENCE_HEADS = 128, 14, 16
# What a controller's weights were trained with: option -> name in its own config.
TRAINED_WITH = {
    "layers": "num_layers",
    "heads": "num_heads",
    "fusion": "fusion",
    "attention": "attention",
}
# The same of reference networks.
REFERENCES_TRAINED_WITH = {
    ReferenceTokens: {"reference_cameras": "cameras"},
    HistoricalAttention: {"reference_interval": "interval", "reference_heads": "heads"},
}


def controller_options(network: NetworkConfig, holes: str = "black") -> ControllerOptions:
    """Of a new controller, for anchors with `holes` unless `network` says otherwise."""
    return ControllerOptions(
        layers=network.layers,
        heads=network.heads,
        fusion=network.fusion or "pose_guided",
        attention=network.attention or "joint",
        tokens=network.tokens or "all",
        holes=network.holes or holes,
    )


def reference_network(network: NetworkConfig, backbone: nn.Module) -> ReferenceNetwork | None:
    """What `network.references` describes: a new one for this backbone, or one from a folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder of one that is not as `network` says.
    """
    if not network.refers:
        return None
    if network.references == "tokens":
        return ReferenceTokens.from_backbone(backbone, network.reference_cameras is not False)
    if network.references == "attention":
        return HistoricalAttention.from_backbone(
            backbone,
            network.reference_interval or INTERVAL,
            network.reference_heads or REFERENCE_HEADS,
            min(HEAD_DIM, family_of(backbone).sizes(backbone).head_dim),
        )
    saved = load_reference_network(network.references)
    names = REFERENCES_TRAINED_WITH[type(saved)]
    refuse_contradiction(network, names, saved.config, "references")
    return saved


def refuse_contradiction(
    network: NetworkConfig, names: Mapping[str, str], config: Mapping[str, Any], part: str
) -> None:
    """Refuse options that say something else of a saved network than it says itself.

    Args:
        network: the options; those that are null say nothing.
        names: of the options, with the names that they have in `config`.
        config: of the saved network.
        part: which option names its folder: `controller` or `references`.

    Raises:
        ValueError: names the first option, with both values.
    """
    folder = getattr(network, part)
    for option, name in names.items():
        stated = getattr(network, option)
        if stated is not None and stated != config[name]:
            raise ValueError(
                f"network.{option}={_word(stated)}, but network.{part}={folder} was trained with "
                f"{_word(config[name])}, and its weights cannot become another network's: set "
                f"network.{option}=null to train it as it is, or train a new one"
                + ("" if part == "references" else " (network.controller=new)")
            )


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
