"""Denoiser: controller, references and backbone as one, for training and for sampling alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from diffusers import CogVideoXTransformer3DModel
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from anchorweave.anchors import AnchorLatents, ReferenceLatents
from anchorweave.models.backbone import backbone_sizes, insertions
from anchorweave.models.controller import WeavingController
from anchorweave.models.reference_networks import ReferenceNetwork


class Denoiser(nn.Module):
    """A CogVideoX backbone that is woven with anchors by a controller.

    Args:
        backbone: diffusers' transformer, image-to-video: it sees noisy and image latents joined on
            channels.
        controller: made for this backbone (`WeavingController.from_backbone`); None = anchors say
            nothing to the backbone.
        references: made for this backbone; None = references say nothing to it.

    Raises:
        ValueError: a controller or a reference network that does not fit the backbone.
    """

    def __init__(
        self,
        backbone: CogVideoXTransformer3DModel,
        controller: WeavingController | None,
        references: ReferenceNetwork | None = None,
    ):
        super().__init__()
        if controller is not None:
            _check_fits(backbone, controller)
        if references is not None:
            _check_reads(backbone, references)
        self.backbone = backbone
        self.controller = controller
        self.references = references

    @contextmanager
    def weaving(
        self,
        anchors: AnchorLatents,
        control_weight: float = 1.0,
        camera_weight: float = 1.0,
        active: Callable[[Tensor], bool] | None = None,
        references: ReferenceLatents | None = None,
        alone: Bool[Tensor, " B"] | None = None,
    ) -> Iterator[None]:
        """Inside, every call of the backbone is woven with what is known, whoever makes it.

        Args:
            anchors: a batch of them; where a call's batch is a multiple of it (guidance doubles
                it), they are repeated.
            control_weight: of the control features, added behind the blocks.
            camera_weight: of the camera features, added ahead of the blocks.
            active: of a call's timestep; where it is False no anchor is woven in. References are
                there in every step, as their papers have it.
            references: as many sets as there are of anchors; read by the reference network, if
                there is one.
            alone: samples to which neither control nor camera features are added; None = none.

        Raises:
            ValueError: from the call, where its batch is no multiple of the anchors'.
        """
        woven = self.controller is not None and bool(control_weight or camera_weight)
        reads = self.references is not None and references is not None
        if not (woven or reads):
            yield
            return
        # Cameras do not change from step to step; the controller's answer does.
        camera = []
        if woven and camera_weight:
            camera = self.controller.camera_features(anchors.target2first)
            camera = _spared([camera_weight * feature for feature in camera], alone)
        signature = inspect.signature(self.backbone.forward)
        call = ExitStack()

        def weave(backbone: nn.Module, args: tuple, kwargs: dict) -> None:
            given = signature.bind(*args, **kwargs).arguments
            hidden, timestep = given["hidden_states"], given["timestep"]
            times = self._times(hidden, anchors)
            ahead = 0
            if reads:
                ahead = self.references.tokens_ahead(references)
            if woven and (active is None or active(timestep)):
                control = []
                if control_weight:
                    control = self.controller(
                        hidden[:, :, : self.controller.config.latent_channels],
                        given["encoder_hidden_states"],
                        timestep,
                        anchors.repeat(times),
                        given.get("image_rotary_emb"),
                    )
                call.enter_context(
                    insertions(
                        backbone,
                        before=[feature.repeat(times, 1, 1) for feature in camera],
                        after=_spared([control_weight * feature for feature in control], alone),
                        ahead=ahead,
                    )
                )
            # Around the insertions: they find the tokens that it joins to the video's.
            if reads:
                call.enter_context(self.references.woven(backbone, references.repeat(times)))

        hooks = [
            self.backbone.register_forward_pre_hook(weave, with_kwargs=True),
            # Also where the backbone fails, so that it is never left woven.
            self.backbone.register_forward_hook(lambda *_: call.close(), always_call=True),
        ]
        try:
            yield
        finally:
            call.close()
            for hook in hooks:
                hook.remove()

    def forward(
        self,
        noisy_latents: Float[Tensor, "B t C h w"],
        image_latents: Float[Tensor, "B t C h w"],
        prompt_features: Float[Tensor, "B S text_dim"],
        timestep: Shaped[Tensor, " B"],
        anchors: AnchorLatents,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        control_weight: float = 1.0,
        camera_weight: float = 1.0,
        references: ReferenceLatents | None = None,
        alone: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B t C h w"]:
        """The backbone's prediction (v for CogVideoX) [B, t, C, h, w].

        Args:
            noisy_latents: the video being denoised.
            image_latents: its first frame's latent, zeros behind.
            prompt_features: text features [B, S, text_dim].
            timestep: [B], in the scheduler's training steps.
            anchors: one set a sample.
            image_rotary_emb: the backbone's rotary table (`rotary.rotary_table`).
            control_weight: see `weaving`.
            camera_weight: see `weaving`.
            references: one set a sample.
            alone: see `weaving`.
        """
        with self.weaving(
            anchors, control_weight, camera_weight, references=references, alone=alone
        ):
            return self.backbone(
                hidden_states=torch.cat([noisy_latents, image_latents], dim=2),
                encoder_hidden_states=prompt_features,
                timestep=timestep,
                image_rotary_emb=image_rotary_emb,
                return_dict=False,
            )[0]

    @staticmethod
    def _times(hidden: Tensor, anchors: AnchorLatents) -> int:
        calls, given = len(hidden), len(anchors.latents)
        if given == 0 or calls % given:
            raise ValueError(
                f"a backbone call of batch {calls} cannot be woven with the anchors of {given} "
                "samples; give one set of anchors a sample"
            )
        return calls // given


def _spared(features: list[Tensor], alone: Tensor | None) -> list[Tensor]:
    """Features [B, ., D], zero for the samples that are `alone`."""
    if alone is None:
        return features
    times = len(features[0]) // len(alone) if features else 1
    kept = alone.logical_not().repeat(times)[:, None, None]
    return [feature * kept.to(feature.dtype) for feature in features]


def _check_fits(backbone: CogVideoXTransformer3DModel, controller: WeavingController) -> None:
    for what, has in backbone_sizes(backbone).items():
        if (wants := controller.config[what]) != has:
            raise ValueError(
                f"the controller was made for a backbone with {what} {wants}, this one has "
                f"{has}; make it with WeavingController.from_backbone"
            )
    if controller.config.num_layers > backbone.config.num_layers:
        raise ValueError(
            f"the controller weaves {controller.config.num_layers} layers, the backbone has "
            f"only {backbone.config.num_layers}"
        )


def _check_reads(backbone: CogVideoXTransformer3DModel, references: ReferenceNetwork) -> None:
    sizes = backbone_sizes(backbone)
    sizes = {what: sizes[what] for what in ("backbone_dim", "latent_channels", "patch_size")}
    for what, has in {**sizes, "num_layers": backbone.config.num_layers}.items():
        if (wants := references.config[what]) != has:
            raise ValueError(
                f"the reference network was made for a backbone with {what} {wants}, this one has "
                f"{has}; make it with {type(references).__name__}.from_backbone"
            )
