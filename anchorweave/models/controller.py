"""The multi-anchor weaving controller: computes control features for the backbone from anchors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import Timesteps
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from anchorweave.anchors import AnchorLatents, PrecedingLatents
from anchorweave.holes import check_holes
from anchorweave.models.backbones import families, family_of
from anchorweave.models.backbones.sizes import OF_CONTROLLER
from anchorweave.models.backbones.with_references import rotary_with_references
from anchorweave.models.cross_anchor_attention import Arrangement
from anchorweave.models.families import FAMILIES
from anchorweave.models.weaving.anchor_tokens import anchor_tokens, anchors_share, noisy_share
from anchorweave.models.weaving.camera_encoder import CameraEncoder
from anchorweave.models.weaving.pose_guided_fusion import AverageFusion, PoseGuidedFusion

CHOICES = {
    "fusion": ("pose_guided", "average"),
    "attention": ("joint", "separate"),
    "tokens": ("all", "visible"),
}


@dataclass(frozen=True)
class _Prepared:
    """The part of a call's input that depends on the anchors, but not on noise or timestep."""

    place: Arrangement
    weights: Float[Tensor, "B N L"]
    # Of the anchors alone, if the noisy latents' term is added in every call.
    tokens: Float[Tensor, "rows M D"] | None
    table: Any
    attention: Any


@dataclass
class Constants:
    """Cache of what is constant between calls with the same anchors, such as sampling steps.

    Filled by the first call; keyed by the sizes of a call.
    """

    made: dict[tuple, _Prepared] = field(default_factory=dict)


class WeavingController(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """A stack of transformer blocks over all anchors jointly, parallel to a frozen backbone.

    Rows of a batch are independent, and the order of the anchors does not matter. For tokens that
    no anchor shows, or without any anchor, the control features are the biases of the output
    projections: zero until trained.

    Args:
        backbone_dim: width of the backbone and of the output projections.
        latent_channels: channels C of the VAE.
        text_dim: width of the prompt features.
        patch_size: latent pixels along one side of a token.
        temporal_compression: pixel frames per latent frame.
        spatial_interpolation_scale: for the fixed positions, as in the backbone.
        temporal_interpolation_scale: likewise.
        rotary: whether the backbone uses a rotary table; the controller then uses the same one.
        num_layers: number of backbone layers that are woven.
        every: stride between woven layers, starting with the first. 1 = the first ones (paper).
        num_heads: attention heads.
        head_dim: width of a head; must equal the backbone's if `rotary`.
        time_embed_dim: width of the timestep embedding.
        feed_forward: hidden width of its feed-forward layers; None = four times its own.
        coverage: whether each token gets the fraction of its pixels that were observed, in addition
            to whether half of them were (our addition; not in the paper). If tokens have many
            pixels, such as 16x16 or 32x32, the binary value is coarse.
        fusion: `pose_guided`, or `average` over the anchors that show a token (figure 5).
        attention: `joint` over all anchors, or `separate` for each (figure 5).
        tokens: `all` take part in attention (released code), or only the `visible` ones, which is
            equivalent to masking the others but faster (not given in the paper).
        holes: how holes of its anchors are filled before encoding: `black` (released weights),
            `cracks` or `filled`; see `anchorweave/holes`. It has no effect in this class, but
            weights work well only on the kind they were trained on.
        family: the backbone's family (`FAMILIES`), whose kind of block is used.

    Raises:
        ValueError: an unknown choice or family.

    Source: paper section 3.4; sizes of the released code (16 of the 42 layers of CogVideoX-5B).
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        backbone_dim: int = 3072,
        latent_channels: int = 16,
        text_dim: int = 4096,
        patch_size: int = 2,
        temporal_compression: int = 4,
        spatial_interpolation_scale: float = 1.875,
        temporal_interpolation_scale: float = 1.0,
        rotary: bool = True,
        num_layers: int = 16,
        num_heads: int = 16,
        head_dim: int = 64,
        time_embed_dim: int = 512,
        fusion: str = "pose_guided",
        attention: str = "joint",
        tokens: str = "all",
        holes: str = "black",
        family: str = "cogvideox",
        every: int = 1,
        feed_forward: int | None = None,
        coverage: bool = False,
    ):
        super().__init__()
        check_holes(holes)
        for name, value in {"fusion": fusion, "attention": attention, "tokens": tokens}.items():
            if value not in CHOICES[name]:
                raise ValueError(f"{name} is one of {', '.join(CHOICES[name])}; got {value!r}")
        if every < 1:
            raise ValueError(f"every={every}: the stride between woven layers must be 1 or more")
        if family not in FAMILIES:
            raise ValueError(f"family is one of {', '.join(FAMILIES)}; got {family!r}")
        self.family = families()[family]
        dim = num_heads * head_dim
        # The controller gets the noisy latents concatenated with each anchor's.
        self.latent_proj = nn.Conv2d(2 * latent_channels, dim, patch_size, stride=patch_size)
        self.coverage_proj = nn.Linear(1, dim, bias=False) if coverage else None
        if coverage:
            nn.init.zeros_(self.coverage_proj.weight)
        self.text_proj = self.family.controller_text(text_dim, dim)
        sines, self.time_embedding = self.family.controller_time(dim, time_embed_dim)
        self.time_proj = Timesteps(sines, flip_sin_to_cos=True, downscale_freq_shift=0)
        inner = 4 * dim if feed_forward is None else feed_forward
        self.blocks = nn.ModuleList(
            self.family.controller_block(dim, num_heads, head_dim, time_embed_dim, inner)
            for _ in range(num_layers)
        )
        self._no_split_modules = sorted({type(block).__name__ for block in self.blocks})
        # Used by diffusers' `compile_repeated_blocks`.
        self._repeated_blocks = self._no_split_modules
        self.anchor_weights = (
            PoseGuidedFusion(dim, temporal_compression)
            if fusion == "pose_guided"
            else AverageFusion()
        )
        self.control_proj = nn.ModuleList(nn.Linear(dim, backbone_dim) for _ in range(num_layers))
        for project in self.control_proj:
            nn.init.zeros_(project.weight)
            nn.init.zeros_(project.bias)
        self.camera_encoder = CameraEncoder(dim, backbone_dim, num_layers, temporal_compression)
        self.gradient_checkpointing = False

    @classmethod
    def from_backbone(
        cls,
        backbone: nn.Module,
        num_layers: int | None = None,
        num_heads: int | None = None,
        fusion: str = "pose_guided",
        attention: str = "joint",
        tokens: str = "all",
        holes: str = "black",
        every: int = 1,
        feed_forward: int | None = None,
        coverage: bool = False,
    ) -> WeavingController:
        """A new controller whose sizes match `backbone`, read from its config.

        Its output projections are zero, so that weaving it in does not change the backbone's
        output.

        Args:
            backbone: a backbone of a known family.
            num_layers: number of woven layers; None = its family's default (CogVideoX: the
                released 16 of 42).
            num_heads: attention heads of the backbone's width; None = likewise (16 of 48).
            fusion: see the class.
            attention: see the class.
            tokens: see the class.
            holes: see the class.
            every: see the class.
            feed_forward: see the class.
            coverage: see the class.

        Raises:
            ValueError: more layers than the backbone has, or an unsupported backbone.
        """
        family = family_of(backbone)
        sizes = family.sizes(backbone)
        depth, (layers, heads) = sizes.num_layers, family.controller_share(sizes)
        num_layers = layers if num_layers is None else num_layers
        num_heads = heads if num_heads is None else num_heads
        if every < 1:
            raise ValueError(f"every={every}: the stride between woven layers must be 1 or more")
        # For 30 layers, every fourth starting with the first: 8.
        most = (depth - 1) // every + 1
        if not 1 <= num_layers <= most:
            which = "" if every == 1 else f", every {every}-th of them"
            raise ValueError(
                f"cannot weave {num_layers} layers into a backbone of {depth}{which}; "
                f"num_layers must be between 1 and {most}"
            )
        return cls(
            **sizes.of(OF_CONTROLLER),
            num_layers=num_layers,
            num_heads=num_heads,
            fusion=fusion,
            attention=attention,
            tokens=tokens,
            holes=holes,
            family=family.name,
            every=every,
            feed_forward=feed_forward,
            coverage=coverage,
        )

    def camera_features(
        self, target2first: Float[Tensor, "B T 4 4"]
    ) -> list[Float[Tensor, "B t D"]]:
        """Features added before each woven backbone layer, the same for all tokens of a frame.

        Args:
            target2first: each target camera relative to the first one.

        Returns:
            `num_layers` tensors [B, t, backbone_dim].
        """
        # Offloading moves the controller only when it is called itself, so the poses are moved to
        # it; offloaded weights (on no device) are moved to the poses.
        device = target2first.device if self.device.type == "meta" else self.device
        return self.camera_encoder(target2first.to(device, self.dtype))

    def forward(
        self,
        noisy_latents: Float[Tensor, "B t C h w"],
        prompt_features: Float[Tensor, "B S text_dim"],
        timestep: Shaped[Tensor, " B"],
        anchors: AnchorLatents,
        positions: tuple[Tensor, ...] | None = None,
        constants: Constants | None = None,
        preceding: PrecedingLatents | None = None,
    ) -> list[Float[Tensor, "B L D"]]:
        """Features added after each woven backbone layer.

        Args:
            noisy_latents: the video being denoised [B, t, C, h, w], without the image latents.
            prompt_features: text features [B, S, text_dim].
            timestep: [B], in the scheduler's training steps.
            anchors: N >= 0 anchors per sample.
            positions: the backbone's rotary table, if it uses one.
            constants: cache from earlier calls with the same anchors, positions and weights; None =
                compute everything, as needed for a backward pass.
            preceding: p clean latent frames before the video with their own anchors; their tokens
                attend jointly with the others, at times -p..-1.

        Returns:
            `num_layers` tensors [B, (p + t) * h//2 * w//2, backbone_dim]; p = 0 without
            `preceding`.

        Raises:
            ValueError: anchors that do not fit the latents; a missing or unexpected rotary table.
        """
        self._check(noisy_latents, anchors, positions is not None)
        parts = (anchors,)
        if preceding is not None:
            parts = (preceding.anchors, anchors)
            noisy_latents, positions = self._with_preceding(
                noisy_latents, anchors, positions, preceding
            )
        noisy_latents = noisy_latents.to(self.dtype)

        time = self.time_embedding(self.time_proj(timestep).to(self.dtype))
        text = self.text_proj(prompt_features.to(self.dtype))
        S = text.shape[1]
        if constants is None:
            made = self._prepare(noisy_latents, parts, positions, S)
            joined = AnchorLatents.in_sequence(parts)
            tokens = anchor_tokens(self.latent_proj, noisy_latents, joined.latents)
            tokens = self._with_coverage(tokens, joined)
            tokens = made.place.arrange(self._with_positions(tokens, noisy_latents, parts))
        else:
            key = (noisy_latents.shape, noisy_latents.device, noisy_latents.dtype, S)
            if key not in constants.made:
                constants.made[key] = self._prepare(noisy_latents, parts, positions, S, True)
            made = constants.made[key]
            share = noisy_share(self.latent_proj, noisy_latents)
            tokens = made.place.spread(share) + made.tokens
        place = made.place
        # A copy, because compiled blocks are recompiled for views.
        text, time = place.per_row(text).clone(), place.per_row(time)

        features = []
        for block, project in zip(self.blocks, self.control_proj, strict=True):
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens, text = self._gradient_checkpointing_func(
                    block, tokens, text, time, made.table, made.attention
                )
            else:
                tokens, text = block(tokens, text, time, made.table, made.attention)
            # Fused immediately, so that the tokens of all anchors are stored for only one layer.
            features.append(project(place.fuse(tokens, made.weights)))
        return features

    def _prepare(
        self,
        noisy_latents: Tensor,
        parts: tuple[AnchorLatents, ...],
        positions: tuple[Tensor, ...] | None,
        text_tokens: int,
        embedded: bool = False,
    ) -> _Prepared:
        parts = tuple(part.to(noisy_latents.device, self.dtype) for part in parts)
        anchors = AnchorLatents.in_sequence(parts)
        visible = anchors.visible_tokens.flatten(2)
        # Poses correspond to latent frames within each part.
        of_parts = [self.anchor_weights(p.visible_tokens, p.target2source) for p in parts]
        weights = torch.cat(of_parts, dim=2).flatten(2)
        place = Arrangement(visible, self.config.attention, self.config.tokens)
        table, attention = self.family.arranged(place, positions, text_tokens)
        tokens = None
        if embedded:
            tokens = anchors_share(self.latent_proj, anchors.latents)
            tokens = self._with_coverage(tokens, anchors)
            tokens = place.arrange(self._with_positions(tokens, noisy_latents, parts))
        return _Prepared(place, weights, tokens, table, attention)

    def _with_coverage(self, tokens: Tensor, anchors: AnchorLatents) -> Tensor:
        """Tokens [B, N, L, D] of anchors, and their coverage."""
        if self.coverage_proj is None:
            return tokens
        share = anchors.coverage.flatten(2)[..., None].to(tokens)
        return tokens + self.coverage_proj(share)

    def _with_positions(
        self, tokens: Tensor, latents: Tensor, parts: tuple[AnchorLatents, ...]
    ) -> Tensor:
        """Tokens [B, N, L, D] of latents [B, p + t, C, h, w] with their positions added."""
        (h, w), patch = latents.shape[-2:], self.config.patch_size
        *ahead, t = (part.latents.shape[2] for part in parts)
        grid = (t, h // patch, w // patch)
        positions = self.family.controller_positions(self.config, grid, tokens.device)
        if positions is None:
            return tokens
        # Preceding frames use the first frame's position, like reference frames.
        first = positions[: len(positions) // t].repeat(sum(ahead), 1)
        return tokens + torch.cat([first, positions]).to(tokens)

    def _with_preceding(
        self,
        noisy_latents: Tensor,
        anchors: AnchorLatents,
        positions: tuple[Tensor, ...] | None,
        preceding: PrecedingLatents,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Concatenates latents and rotary tables of preceding frames and video."""
        self._check(preceding.latents, preceding.anchors, positions is not None)
        if (count := preceding.anchors.latents.shape[1]) != anchors.latents.shape[1]:
            raise ValueError(
                f"the preceding frames have {count} anchors and the video has "
                f"{anchors.latents.shape[1]}; both need the same slots"
            )
        latents = torch.cat([preceding.latents.to(noisy_latents), noisy_latents], dim=1)
        if positions is not None:
            channels = self.family.time_channels(positions[0].shape[1])
            per_frame = len(positions[0]) // noisy_latents.shape[1]
            p = preceding.latents.shape[1]
            positions = rotary_with_references(positions, p, per_frame, channels)
        return latents, positions

    def _check(self, noisy_latents: Tensor, anchors: AnchorLatents, has_rotary: bool) -> None:
        B, t, C, h, w = noisy_latents.shape
        N, patch = anchors.latents.shape[1], self.config.patch_size
        T = (t - 1) * self.config.temporal_compression + 1
        if h % patch or w % patch:
            raise ValueError(f"latents of {h}x{w} do not divide into patches of {patch}x{patch}")
        expected = {
            "latents": (B, N, t, C, h, w),
            "visible_tokens": (B, N, t, h // patch, w // patch),
            "target2source": (B, N, T, 4, 4),
            "target2first": (B, T, 4, 4),
        }
        if self.coverage_proj is not None:
            if anchors.coverage is None:
                raise ValueError(
                    "this controller needs the coverage of each token, which these anchors "
                    "lack: precompute the clips again (remove every "
                    "latents.safetensors), or use a controller with coverage=false"
                )
            expected["coverage"] = expected["visible_tokens"]
        for name, shape in expected.items():
            if (actual := tuple(getattr(anchors, name).shape)) != shape:
                raise ValueError(
                    f"anchors.{name} has shape {actual}, but noisy latents of shape "
                    f"{tuple(noisy_latents.shape)} require {shape}"
                )
        if has_rotary != self.config.rotary:
            raise ValueError(
                "this controller was made for a backbone with a rotary table, but got none; pass "
                "its positions"
                if self.config.rotary
                else "this controller was made for a backbone without a rotary table, but got one"
            )
