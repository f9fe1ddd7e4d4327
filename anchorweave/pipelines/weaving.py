"""WeavingMixin: adds retrieved anchors to an image-to-video pipeline of diffusers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from anchorweave.anchors import Retrieved
from anchorweave.models.backbones import codec_of, family_in, family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.latents import encode_preceding, encode_references, encode_retrieved
from anchorweave.models.model_folder import INDEX, check_parts
from anchorweave.models.pixels import Pixels, read_images
from anchorweave.models.references.reference_networks import (
    ReferenceNetwork,
    load_reference_network,
)
from anchorweave.models.video_shape import other_size, own_size, video_shape
from anchorweave.models.weaving.make_controller import NEW, make_controller
from anchorweave.models.whole import refuse_without_values, with_text_encoder
from anchorweave.pipelines.anchored_start import AnchoredStart, start_latents
from anchorweave.pipelines.guidance import Guidance


class WeavingMixin(Guidance, AnchoredStart):
    """Mixin that precedes diffusers' pipeline among the bases of a family's pipeline.

    Diffusers' own features (LoRA, offloading, callbacks, schedulers, saving and loading) keep
    working: the call prepares the input, then runs diffusers' loop while the controller adds
    to the backbone's features. A saved folder has the controller in `controller/`.

    A subclass declares its components in `__init__`, sets `official`, and works around limitations
    of diffusers' pipeline, so that one call makes B videos of any length, each with its own noise.

    Attributes:
        official: diffusers' pipeline of the family, which loads official model folders.

    Source: paper section 3.4; the released code where the paper is silent.
    """

    official: type[DiffusionPipeline]
    _optional_components = ["references"]
    # Both run before the backbone in every step, so in its offload sequence each would evict the
    # other; and their cameras and patches are used without a call of the whole network, which is
    # what triggers offloading hooks.
    _exclude_from_cpu_offload = ["controller", "references"]
    _told_size = False

    @classmethod
    def bare(cls, vae: nn.Module, backbone: nn.Module, scheduler: object) -> DiffusionPipeline:
        """Diffusers' own pipeline without text encoders, for encoded prompts.

        Args:
            vae: the autoencoder.
            backbone: the transformer, on any device.
            scheduler: a diffusers scheduler.
        """
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, path: str | Path, **loading) -> WeavingMixin:
        """Loads a model folder, in float32 unless `dtype` says otherwise; see diffusers.

        Args:
            path: the folder.
            **loading: arguments of diffusers' `from_pretrained`.

        Raises:
            FileNotFoundError: a component is missing; the message names it.
            ValueError: weights are missing or not finite.
        """
        if Path(path).is_dir():
            check_parts(path, without=loading)
        # Without a dtype, transformers keeps the stored precision but diffusers uses float32, which
        # do not match for a folder in half precision.
        if not {"dtype", "torch_dtype"} & loading.keys():
            loading["dtype"] = torch.float32
        pipe = super().from_pretrained(path, **with_text_encoder(path, loading))
        for name, part in pipe.components.items():
            if isinstance(part, nn.Module):
                refuse_without_values(part, f"{path}/{name}")
        return pipe

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Path | DiffusionPipeline,
        controller: str | Path | WeavingController | None = None,
        released_weights: str = "ema",
        references: str | Path | ReferenceNetwork | None = None,
        **loading,
    ) -> WeavingMixin:
        """Loads an official image-to-video model and adds a controller.

        Args:
            backbone: a folder in diffusers' layout (or its name on the hub), or a loaded pipeline.
            controller: a controller, a folder with a saved one, the authors' released file
                (`.pt`, `.safetensors`), or None for a new one, which has no effect until it is
                trained.
            released_weights: which weights of a released file: `ema` or `live` (its first stage has
                no EMA).
            references: a reference network, a folder with a saved one, or None.
            **loading: arguments of diffusers' `from_pretrained` for the backbone, such as `dtype`.

        The controller is moved to the device and dtype of the backbone.
        """
        if not isinstance(backbone, cls.official):
            path = backbone
            if Path(path).is_dir():
                check_parts(path, without=loading)
                family_in(json.loads(Path(path, INDEX).read_text()), path)
            backbone = cls.official.from_pretrained(path, **with_text_encoder(path, loading))
            refuse_without_values(backbone.transformer, f"{path}/transformer")
            refuse_without_values(backbone.vae, f"{path}/vae")
        transformer = backbone.transformer
        family_of(transformer).check_index(backbone.config)
        family_of(transformer).check_image_to_video(transformer, codec_of(backbone.vae).channels)
        if not isinstance(controller, WeavingController):
            controller = make_controller(
                transformer, controller or NEW, released_weights=released_weights
            )
        controller.to(transformer.device, transformer.dtype)
        parts = {**backbone.components, "controller": controller}
        if references is not None:
            if not isinstance(references, ReferenceNetwork):
                references = load_reference_network(references)
            parts["references"] = references.to(transformer.device, transformer.dtype)
        return cls(**parts)

    @torch.no_grad()
    def __call__(
        self,
        image: Pixels | Sequence[Pixels],
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        *,
        retrieved: Retrieved | Sequence[Retrieved] | None = None,
        control_weight: float = 1.0,
        camera_weight: float = 1.0,
        control_window: tuple[float, float] = (0.0, 0.8),
        visible_first_frame: str = "seen",
        start: str = "noise",
        start_share: float = 0.3,
        control_every: int = 1,
        use_dynamic_cfg: bool = False,
        max_sequence_length: int | None = None,
        **diffusion,
    ) -> BaseOutput | tuple:
        """Generates one video per prompt.

        Args:
            image: first frames, one per prompt: PIL images, tensors [3, H, W] or [B, 3, H, W] in
                [0, 1], or arrays; see `read_images`.
            prompt: one, or a list of B.
            negative_prompt: the negative prompt; None = the empty prompt.
            height: in pixels, a size supported by the networks; default: as retrieved, else the
                backbone's own.
            width: likewise.
            num_frames: T, a length supported by the VAE; default likewise.
            retrieved: retrieval results for the target cameras, one per prompt, with lengths in
                scene units (`Retrieved.in_unit`). If None, the backbone runs alone; likewise
                if both weights are 0, there is no reference network and sampling starts from noise.
            control_weight: weight of the anchors' features (paper: 1.0).
            camera_weight: weight of the target cameras' features (paper: 1.0).
            control_window: both are added in steps i of the n that are run with
                start <= i / n <= end (0.8: paper appendix A.1 and the released script; the paper's
                section 4.1 says 0.9).
            visible_first_frame: which tokens of the anchors' first frame count as visible: `seen`,
                or `always` (all), as the released controller was trained; see `visible_tokens`.
            start: what sampling starts from: `noise`, or the noised `anchors` (`start_video`), of
                which only the last steps are run (our addition; works with or without a controller:
                the weights may be 0).
            start_share: with `anchors`, the fraction of `num_inference_steps` to run, in (0, 1];
                at least one step. At 1 nothing of the anchors is left under the noise if the
                schedule ends in pure noise, like CogVideoX-5B's.
            control_every: call the controller in every n-th step, see `Denoiser.weaving`.
            use_dynamic_cfg: increases guidance over the steps, see `guidance_scale`.
            max_sequence_length: maximum prompt length in tokens; default: the backbone's own.
            **diffusion: the remaining arguments of diffusers' image-to-video call, with the same
                meaning (for CogVideoX including `num_videos_per_prompt`: diffusers always makes
                one).

        Returns:
            diffusers' own output, with `frames`; a tuple with `return_dict=False`.

        Raises:
            ValueError: sizes that the networks do not support or that are inconsistent, tiles of
                the autoencoder that do not divide, different counts of images, prompts and
                retrieval results, colours outside [0, 1], a window outside [0, 1], an unknown
                start, a start from anchors that are not given, or a fraction outside (0, 1].
        """
        opens, closes = control_window
        if not 0 <= opens <= closes <= 1:
            raise ValueError(
                f"control_window={control_window} must be a fraction of the steps; "
                "give (start, end) with 0 <= start <= end <= 1"
            )
        if start not in ("noise", "anchors") or (start == "anchors" and retrieved is None):
            raise ValueError(
                f"start={start!r} with {'nothing' if retrieved is None else 'anchors'} retrieved; "
                "start must be noise, or anchors if something was retrieved"
            )
        retrieved = [retrieved] if isinstance(retrieved, Retrieved) else retrieved
        shape = self._video_shape(retrieved, num_frames, height, width)
        sizes = family_of(self.transformer).sizes(self.transformer)
        if max_sequence_length is None:
            max_sequence_length = sizes.text_tokens
        videos = _count(prompt, diffusion.get("prompt_embeds"))
        images = read_images(image, shape[1:])
        _check_count("image(s)", len(images), videos)
        arguments = {
            "image": images,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "num_frames": shape[0],
            "height": shape[1],
            "width": shape[2],
            "max_sequence_length": max_sequence_length,
            **diffusion,
        }
        self._dynamic_guidance = use_dynamic_cfg
        if retrieved is not None:
            _check_count("retrieved", len(retrieved), videos)
        reads = control_weight or camera_weight or self.references is not None
        if retrieved is None or not (reads or start == "anchors"):
            return self._sample(arguments)
        denoiser = Denoiser(self.transformer, self.controller, self.references)
        codec, references, preceding = codec_of(self.vae), None, None
        device, holes = self._execution_device, self.controller.config.holes
        if self.references is not None:
            references = encode_references(codec, retrieved, device)
            preceding = encode_preceding(codec, retrieved, sizes.patch_size, device, holes)
        anchors = encode_retrieved(
            codec,
            retrieved,
            sizes.patch_size,
            visible_first_frame,
            device,
            holes,
        )
        weaving = denoiser.weaving(
            anchors,
            control_weight=control_weight,
            camera_weight=camera_weight,
            active=lambda timestep: opens <= self._completed() <= closes,
            references=references,
            preceding=preceding,
            control_every=control_every,
        )
        if start == "noise":
            with weaving:
                return self._sample(arguments)
        firsts = self.video_processor.preprocess(images, *shape[1:])
        firsts = self.video_processor.denormalize(firsts).cpu()
        anchors = [result.anchors for result in retrieved]
        begun = start_latents(codec, anchors, firsts, self._execution_device)
        begun = denoiser.family.swap_axes(begun)
        with weaving, self.starting_at(begun, start_share):
            return self._sample(arguments)

    def _sample(self, arguments: dict[str, Any]) -> BaseOutput | tuple:
        """Diffusers' own loop."""
        with self.guidance_as_set(arguments.get("guidance_scale", 6)):
            return super().__call__(**arguments)

    def check_shape(self, frames: int, height: int, width: int) -> None:
        """Refuses a video that the networks cannot make, before any work is done.

        Warns once about weights that were trained at another size.

        Raises:
            ValueError: a length or side that the networks do not support, or a backbone whose
                positions were learned at another size.
        """
        self._video_shape(None, frames, height, width)

    def _video_shape(
        self,
        retrieved: Sequence[Retrieved] | None,
        frames: int | None,
        height: int | None,
        width: int | None,
    ) -> tuple[int, int, int]:
        T, H, W = video_shape(self.transformer, self.vae, retrieved, frames, height, width)
        about = other_size(own_size(self.transformer, self.vae), (H, W))
        if about is not None and not self._told_size:
            self._told_size = True
            warnings.warn(about, stacklevel=3)
        return T, H, W


def _count(prompt: str | list[str] | None, prompt_embeds: Tensor | None) -> int:
    if isinstance(prompt, str):
        return 1
    prompts = prompt_embeds if prompt is None else prompt
    if prompts is None:
        raise ValueError("no prompt: give prompt or prompt_embeds")
    return len(prompts)


def _check_count(what: str, count: int, videos: int) -> None:
    if count != videos:
        raise ValueError(f"{count} {what} for {videos} prompt(s); give one per prompt")
