"""Which weights lie on the GPU in each stage, by `model.offload`."""

from __future__ import annotations

from torch import nn

from inference.estimates.networks import Networks, bytes_of

# Never offloaded; `place_networks` says why.
ALWAYS = ("controller", "references")
# Beside these where a block at a time is.
WITH_GROUPS = (*ALWAYS, "vae")


def weights_there(networks: Networks, works: str, offload: str) -> int:
    """Bytes of weights on the GPU.

    Args:
        networks: as they are stored.
        works: the part that computes: `text_encoder`, `transformer` or `vae`.
        offload: see `ModelConfig`.
    """
    parts = networks.parts
    if offload == "none":
        return bytes_of(*parts.values())
    if offload == "model":
        # The autoencoder encodes the anchors first, and nothing sends it away before the end.
        there = {works, "vae", *ALWAYS}
        return sum(bytes_of(part) for name, part in parts.items() if name in there)
    there = sum(bytes_of(part) for name, part in parts.items() if name in WITH_GROUPS)
    return there + (_at_work(parts[works]) if works not in WITH_GROUPS else 0)


def largest_layer(part: nn.Module) -> int:
    """Numbers of the largest layer, which is cast where weights are stored in fewer bits."""
    return max(
        (sum(one.numel() for one in module.parameters(recurse=False)) for module in part.modules()),
        default=0,
    )


def _at_work(part: nn.Module) -> int:
    """Of a part whose lists of blocks come one by one: the rest, a block and the one fetched."""
    blocks = [
        bytes_of(block)
        for child in part.children()
        if isinstance(child, nn.ModuleList | nn.Sequential)
        for block in child
    ]
    pairs = [sum(blocks[i : i + 2]) for i in range(max(len(blocks) - 1, 1))]
    return bytes_of(part) - sum(blocks) + max(pairs)
