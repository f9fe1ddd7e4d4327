"""Denoiser: controller, reference network and backbone in one module, for training and sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from anchorweave.anchors import AnchorLatents, PrecedingLatents, ReferenceLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.sizes import OF_CONTROLLER, OF_REFERENCES
from anchorweave.models.caches import check_cache
from anchorweave.models.controller import Constants, WeavingController
from anchorweave.models.insertions import add_features
from anchorweave.models.precision import autocast_here, needs_no_autocast, without_autocast
from anchorweave.models.references.reference_networks import ReferenceNetwork
from anchorweave.models.references.reference_tokens import ReferenceTokens


class Denoiser(nn.Module):
    """A backbone with anchors woven in by a controller.

    Args:
        backbone: diffusers' image-to-video transformer, of any family.
        controller: made for this backbone (`WeavingController.from_backbone`); if None, anchors are
            ignored.
        references: made for this backbone; if None, references and preceding frames are ignored.

    Raises:
        ValueError: a controller or a reference network that does not fit the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        controller: WeavingController | None,
        references: ReferenceNetwork | None = None,
    ):
        super().__init__()
        if controller is not None:
            check_fits(backbone, controller)
        if references is not None:
            _check_reads(backbone, references)
        self.family = family_of(backbone)
        self.family.speed_up(backbone)
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
        control_every: int = 1,
        preceding: PrecedingLatents | None = None,
    ) -> Iterator[None]:
        """Context in which anchors and references are woven into every call of the backbone.

        Args:
            anchors: a batch; repeated if a call's batch is a multiple of it (guidance doubles
                the batch).
            control_weight: weight of the control features, added after the blocks.
            camera_weight: weight of the camera features, added before the blocks.
            active: a function of a call's timestep; if it returns False no anchor is woven in.
                References are used in every step, as in their papers.
            references: one set per set of anchors; used by the reference network, if any.
            alone: samples without control and camera features; None = none.
            control_every: call the controller in every n-th step, and reuse its last outputs in
                between (our addition). Consecutive calls with the same timestep are one step.
            preceding: the frames before the video, for each set of anchors: the reference network
                inserts their tokens between references and video, at the last negative times, and
                the controller adds features to both (Spatia, section 3.1: [R | P | T]).

        Raises:
            ValueError: an incompatible diffusers cache; preceding frames for a reference network
                that does not support them; or, from the call, a batch that is not a multiple of
                the anchors'.
        """
        woven = self.controller is not None and bool(control_weight or camera_weight)
        reads = self.references is not None and references is not None
        if not (woven or reads):
            yield
            return
        check_cache(self.backbone)
        if not reads:
            preceding = None
        check_preceding(self.references, preceding is not None)
        # Only the references; the controller's features start with the preceding frames.
        ahead = self.references.tokens_ahead(references) if reads else 0
        inputs = references
        if preceding is not None:
            inputs = references.followed_by(preceding, self.references.config.temporal_compression)
        outer = autocast_here(anchors.latents.device)
        # Camera features do not change from step to step; the controller's output does.
        camera = []
        if woven and camera_weight:
            camera = self.controller.camera_features(anchors.target2first)
            if preceding is not None:
                before = self.controller.camera_features(preceding.anchors.target2first)
                camera = [torch.cat(both, dim=1) for both in zip(before, camera, strict=True)]
            camera = _spared(_weighted(camera, camera_weight), alone)
        # Ratio of a call's batch to the anchors'.
        anchors_by, camera_by, preceding_by = {}, {}, {}
        constants = None if torch.is_grad_enabled() else Constants()
        answers = _Answers(control_every)
        call = ExitStack()

        def weave(backbone: nn.Module, args: tuple, kwargs: dict) -> None:
            content = self.family.read_call(backbone, args, kwargs)
            times = self._times(content.latents, anchors)
            if times not in anchors_by:
                anchors_by[times] = anchors.repeat(times)
                camera_by[times] = [feature.repeat(times, 1, 1) for feature in camera]
                preceding_by[times] = preceding and preceding.repeat(times)
            if woven and (active is None or active(content.timestep)):

                def control() -> list[Tensor]:
                    features = self.controller(
                        content.latents,
                        content.text,
                        content.timestep,
                        anchors_by[times],
                        content.positions,
                        constants,
                        preceding_by[times],
                    )
                    return _spared(_weighted(features, control_weight), alone)

                with outer():
                    after = answers(content.timestep, control) if control_weight else []
                call.enter_context(
                    add_features(
                        backbone,
                        before=camera_by[times],
                        after=after,
                        ahead=ahead,
                        every=self.controller.config.every,
                    )
                )
            # Outside the insertions, which locate the tokens that it prepends to the video's.
            if reads:
                with outer():
                    call.enter_context(self.references.woven(backbone, inputs.repeat(times)))

        hooks = [
            self.backbone.register_forward_pre_hook(weave, with_kwargs=True),
            # Also if the backbone fails, so that it never stays woven.
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
        positions: tuple[Tensor, ...] | None = None,
        control_weight: float = 1.0,
        camera_weight: float = 1.0,
        references: ReferenceLatents | None = None,
        alone: Bool[Tensor, " B"] | None = None,
        preceding: PrecedingLatents | None = None,
    ) -> Float[Tensor, "B t C h w"]:
        """The backbone's prediction [B, t, C, h, w], in terms of its noise process.

        Args:
            noisy_latents: the video being denoised.
            image_latents: its first frame's latent, followed by zeros.
            prompt_features: text features [B, S, text_dim].
            timestep: [B], in the scheduler's training steps.
            anchors: one set per sample.
            positions: `Family.positions` of the backbone for latents of this size.
            control_weight: see `weaving`.
            camera_weight: see `weaving`.
            references: one set per sample.
            alone: see `weaving`.
            preceding: see `weaving`; not included in the prediction.
        """
        options = {"references": references, "alone": alone, "preceding": preceding}
        weaving = self.weaving(anchors, control_weight, camera_weight, **options)
        bare = needs_no_autocast(self.backbone)
        with weaving, without_autocast(noisy_latents.device) if bare else nullcontext():
            return self.family.predict(
                self.backbone, noisy_latents, image_latents, prompt_features, timestep, positions
            )

    @staticmethod
    def _times(latents: Tensor, anchors: AnchorLatents) -> int:
        calls, samples = len(latents), len(anchors.latents)
        if samples == 0 or calls % samples:
            raise ValueError(
                f"a backbone call of batch {calls} cannot be woven with the anchors of {samples} "
                "samples; give one set of anchors per sample"
            )
        return calls // samples


class _Answers:
    """The controller's outputs, computed in every n-th step and reused in between."""

    def __init__(self, every: int):
        self.every = every
        self.step, self.call, self.timestep = -1, 0, None
        self.kept: list[list[Tensor]] = []

    def __call__(self, timestep: Tensor, ask: Callable[[], list[Tensor]]) -> list[Tensor]:
        if self.every == 1:
            return ask()
        now = timestep.flatten()[-1].item()
        if now != self.timestep:
            self.step, self.call, self.timestep = self.step + 1, 0, now
        # Guidance may make several calls per step.
        call, self.call = self.call, self.call + 1
        # A scheduler may repeat a timestep, whose calls then count as one step's.
        if self.step % self.every == 0 or call >= len(self.kept):
            self.kept[call:] = [ask()]
        return self.kept[call]


def _weighted(features: list[Tensor], weight: float) -> list[Tensor]:
    return features if weight == 1 else [weight * feature for feature in features]


def _spared(features: list[Tensor], alone: Tensor | None) -> list[Tensor]:
    """Features [B, ., D], set to zero for samples that are `alone`."""
    if alone is None:
        return features
    times = len(features[0]) // len(alone) if features else 1
    active = alone.logical_not().repeat(times)[:, None, None]
    return [feature * active.to(feature.dtype) for feature in features]


def check_preceding(references: ReferenceNetwork | None, given: bool) -> None:
    """Refuses preceding frames for a network that does not support them.

    Raises:
        ValueError: preceding frames are given but not supported.
    """
    if not given or references is None or isinstance(references, ReferenceTokens):
        return
    raise ValueError(
        f"{type(references).__name__} does not support preceding frames; use "
        "model.new_references=tokens, or memory.global_cloud.preceding=0 (in preparing "
        "clips too)"
    )


def check_fits(backbone: nn.Module, controller: WeavingController) -> None:
    """Refuses a controller that was made for another backbone.

    Raises:
        ValueError: the message names the first difference.
    """
    family = family_of(backbone)
    sizes = family.sizes(backbone)
    if controller.config.family != family.name:
        raise ValueError(
            f"the controller was made for a backbone of the family {controller.config.family}, "
            f"this one is of {family.name}; make it with WeavingController.from_backbone"
        )
    for what, has in sizes.of(OF_CONTROLLER).items():
        if (wants := controller.config[what]) != has:
            raise ValueError(
                f"the controller was made for a backbone with {what} {wants}, this one has "
                f"{has}; make it with WeavingController.from_backbone"
            )
    last = (controller.config.num_layers - 1) * controller.config.every + 1
    if last > sizes.num_layers:
        raise ValueError(
            f"the controller weaves {last} layers, the backbone has only {sizes.num_layers}"
        )


def _check_reads(backbone: nn.Module, references: ReferenceNetwork) -> None:
    for what, has in family_of(backbone).sizes(backbone).of(OF_REFERENCES).items():
        if (wants := references.config[what]) != has:
            raise ValueError(
                f"the reference network was made for a backbone with {what} {wants}, this one has "
                f"{has}; make it with {type(references).__name__}.from_backbone"
            )
