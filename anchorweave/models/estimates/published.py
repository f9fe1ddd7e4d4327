"""Configurations of published models' components, for runs whose model is not on disk yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anchorweave.models.backbones import Family, families

# Assumed for a run without a model on disk or a known name.
FIRST = families()["cogvideox"]

_T5_XXL = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
# By family: vae/config.json and text_encoder/config.json, without entries irrelevant to sizes.
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    # CogVideoX-5b-I2V; its autoencoder has diffusers' default sizes.
    "cogvideox": {"vae": {}, "text_encoder": _T5_XXL},
    # Wan2.2-TI2V-5B-Diffusers.
    "wan": {
        "vae": {
            "base_dim": 160,
            "decoder_base_dim": 256,
            "z_dim": 48,
            "dim_mult": [1, 2, 4, 4],
            "num_res_blocks": 2,
            "attn_scales": [],
            "temperal_downsample": [False, True, True],
            "in_channels": 12,
            "out_channels": 12,
            "is_residual": True,
            "patch_size": 2,
            "scale_factor_spatial": 16,
            "scale_factor_temporal": 4,
            "latents_mean": [0.0] * 48,
            "latents_std": [1.0] * 48,
        },
        "text_encoder": {**_T5_XXL, "vocab_size": 256384},
    },
}


def published_family(path: str) -> Family:
    """The family whose published model has the folder's name; otherwise the first one."""
    named = [one for one in families().values() if one.published[0].lower() in path.lower()]
    return named[0] if named else FIRST


def own_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A diffusers configuration without the notes stored among the arguments."""
    return {key: value for key, value in config.items() if not key.startswith("_")}
