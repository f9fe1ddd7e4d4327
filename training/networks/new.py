"""New networks for a backbone as described by `network`, and checks of saved ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_networks import (
    ReferenceNetwork,
    load_reference_network,
)
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.weaving.make_controller import (
    FROM_BACKBONE,
    NEW,
    ControllerOptions,
    make_controller,
)
from anchorweave.models.whole import load_whole
from training.options.networks import NetworkConfig

# From SPMem's released cross-attention.
HEAD_DIM, INTERVAL, REFERENCE_HEADS = 128, 14, 16
# `model.new_controller` -> `source` of `make_controller`.
START = {"random": NEW, "from_backbone": FROM_BACKBONE}
# Training-time settings of a controller: option -> name in its own config.
TRAINED_WITH = {
    "layers": "num_layers",
    "heads": "num_heads",
    "every": "every",
    "fusion": "fusion",
    "attention": "attention",
    "coverage": "coverage",
}
# Likewise for reference networks.
REFERENCES_TRAINED_WITH = {
    ReferenceTokens: {"reference_cameras": "cameras"},
    HistoricalAttention: {"reference_interval": "interval", "reference_heads": "heads"},
}


def new_controller(
    network: NetworkConfig, backbone: nn.Module, holes: str = "black", source: str | Path = NEW
) -> WeavingController:
    """A controller as described by `network`, for anchors with `holes` unless configured otherwise.

    Args:
        network: unspecified layers and heads are taken from `warm_start`, if set.
        backbone: a backbone of a known family.
        holes: see above.
        source: as in `make_controller`, but not a folder.
    """
    layers, heads, every, saved = network.layers, network.heads, network.every, None
    if network.warm_start is not None:
        saved = _saved_controller(network.warm_start)
        layers = layers or saved.config.num_layers
        heads = heads or saved.config.num_heads
        every = every or saved.config.every
    options = ControllerOptions(
        layers=layers,
        heads=heads,
        fusion=network.fusion or "pose_guided",
        attention=network.attention or "joint",
        tokens=network.tokens or "all",
        holes=network.holes or holes,
        every=every or 1,
        coverage=bool(network.coverage),
    )
    controller = make_controller(backbone, source, options, network.released_weights)
    if saved is not None:
        warm_start(controller, saved, network.warm_start)
    return controller


def warm_start(controller: WeavingController, saved: WeavingController, where: str | Path) -> None:
    """Copies the weights of a saved controller into a new one, possibly with another fusion.

    Args:
        controller: the new one, changed in place. Weights that only `saved` has (such as scores of
            pose-guided fusion if the new one averages) are ignored.
        saved: the trained one.
        where: its folder, for messages.

    Raises:
        ValueError: a weight of the new one that `saved` lacks, or has with another shape.
    """
    own, theirs = controller.state_dict(), saved.state_dict()
    if controller.config.coverage and not saved.config.coverage:
        # This has no effect before it is trained.
        theirs |= {name: own[name] for name in own if name.startswith("coverage_proj.")}
    for name, weight in own.items():
        if name not in theirs or theirs[name].shape != weight.shape:
            actual = list(theirs[name].shape) if name in theirs else "none"
            raise ValueError(
                f"model.warm_start={where} cannot start this controller: {name} has shape "
                f"{list(weight.shape)}, there {actual}; ask for its layers, heads and backbone"
            )
    controller.load_state_dict({name: theirs[name] for name in own})


def _saved_controller(folder: str) -> WeavingController:
    # Otherwise the name would be looked up on the hub.
    if not Path(folder, "config.json").is_file():
        raise FileNotFoundError(
            f"no controller at model.warm_start={folder}: it has no config.json; name a folder "
            "that one was saved to, such as CHECKPOINT/controller"
        )
    return load_whole(WeavingController, folder)


def reference_network(network: NetworkConfig, backbone: nn.Module) -> ReferenceNetwork | None:
    """The reference network described by `network`: new for this backbone, or from a folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: the saved network contradicts `network`.
    """
    if not network.has_references:
        return None
    if network.new_references == "tokens":
        return ReferenceTokens.from_backbone(backbone, network.reference_cameras is not False)
    if network.new_references == "attention":
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
    """Rejects options that contradict the config of a saved network.

    Args:
        network: the options; null ones are not checked.
        names: option names, with their names in `config`.
        config: config of the saved network.
        part: the option that names its folder: `controller` or `references`.

    Raises:
        ValueError: names the first option, with both values.
    """
    folder = getattr(network, part)
    for option, name in names.items():
        stated = getattr(network, option)
        if stated is not None and stated != config[name]:
            raise ValueError(
                f"model.{option}={_word(stated)}, but model.{part}={folder} was trained with "
                f"{_word(config[name])}, and its weights cannot become another network's: set "
                f"model.{option}=null to train it as it is, or train a new one"
                + ("" if part == "references" else " (model.controller=null)")
            )


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
