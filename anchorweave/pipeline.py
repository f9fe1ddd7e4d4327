"""AnchorWeavePipeline: an image, a prompt and what was retrieved, to a video."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.pipelines.cogvideo.pipeline_output import CogVideoXPipelineOutput
from torch import Tensor, nn
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.anchors import Retrieved
from anchorweave.models.anchored_start import last_steps, start_latents
from anchorweave.models.backbones import family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.latents import (
    encode_references,
    encode_retrieved,
    with_odd_frames,
)
from anchorweave.models.make_controller import NEW, make_controller
from anchorweave.models.model_folder import check_parts
from anchorweave.models.pixels import Pixels, read_images
from anchorweave.models.reference_networks import ReferenceNetwork, load_reference_network
from anchorweave.models.text import encode_prompts
from anchorweave.models.tiling import lay_out_tiles
from anchorweave.models.video_shape import other_size, own_size, video_shape
from anchorweave.models.whole import refuse_without_values, with_text_encoder


class AnchorWeavePipeline(CogVideoXImageToVideoPipeline):
    """CogVideoX image-to-video with retrieved anchors woven in.

    Everything that diffusers' pipeline offers (LoRA, offloading, callbacks, schedulers, saving and
    loading) stays its own: the call prepares its input, then runs diffusers' loop while the
    controller adds to what the backbone computes. In a saved folder the controller lies in
    `controller/` beside the other parts.

    Args:
        tokenizer: T5's.
        text_encoder: T5's encoder half.
        vae: the autoencoder; its tiles are laid out so that `vae.enable_tiling()` works at any
            size (`lay_out_tiles`).
        transformer: the backbone, in CogVideoX 1.0's image-to-video shape.
        controller: what weaves the anchors in; made for this backbone.
        scheduler: DDIM or DPM.
        references: what reads references (`REFERENCE_NETWORKS`); None = nothing does.

    Raises:
        ValueError: a backbone of CogVideoX 1.5, or one that takes no image.

    Source: paper section 3.4; the released code where the paper is silent.
    """

    _optional_components = ["references"]
    # Both run before the backbone in every step, so in its offload sequence each would throw the
    # other out; and their cameras and patches are asked for without a call of the whole network,
    # which is what offloading waits for.
    _exclude_from_cpu_offload = ["controller", "references"]

    def __init__(
        self,
        tokenizer: T5Tokenizer,
        text_encoder: T5EncoderModel,
        vae: AutoencoderKLCogVideoX,
        transformer: CogVideoXTransformer3DModel,
        controller: WeavingController,
        scheduler: CogVideoXDDIMScheduler | CogVideoXDPMScheduler,
        references: ReferenceNetwork | None = None,
    ):
        family_of(transformer).check_image_to_video(transformer)
        lay_out_tiles(vae)
        super().__init__(tokenizer, text_encoder, vae, transformer, scheduler)
        self.register_modules(controller=controller, references=references)
        self._dynamic_guidance = False
        self._start: Tensor | None = None
        self._told_size = False

    @classmethod
    def from_pretrained(cls, path: str | Path, **loading) -> AnchorWeavePipeline:
        """A model folder, in float32 unless `dtype` says otherwise; see diffusers.

        Args:
            path: the folder.
            **loading: for diffusers' `from_pretrained`.

        Raises:
            FileNotFoundError: a part that the folder lacks, by name.
            ValueError: a part lacks weights.
        """
        if Path(path).is_dir():
            check_parts(path, without=loading)
        # Untold, transformers keeps the precision that is stored and diffusers takes float32: of a
        # folder in half precision they would not fit together.
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
        backbone: str | Path | CogVideoXImageToVideoPipeline,
        controller: str | Path | WeavingController | None = None,
        released_weights: str = "ema",
        references: str | Path | ReferenceNetwork | None = None,
        **loading,
    ) -> AnchorWeavePipeline:
        """An official CogVideoX image-to-video model with a controller beside it.

        Args:
            backbone: a folder in diffusers' layout (or its name on the hub), or a loaded pipeline.
            controller: a controller, a folder that one was saved to, the authors' released `.pt`,
                or None for a new one, which changes nothing until it is trained.
            released_weights: which of a released file: `ema` or `live` (its first stage trained no
                moving average).
            references: a reference network, a folder that one was saved to, or None.
            **loading: for diffusers' `from_pretrained` of the backbone, `dtype` for example.

        The controller is moved to the device and dtype of the backbone.
        """
        if not isinstance(backbone, CogVideoXImageToVideoPipeline):
            path = backbone
            if Path(path).is_dir():
                check_parts(path, without=loading)
            backbone = CogVideoXImageToVideoPipeline.from_pretrained(
                path, **with_text_encoder(path, loading)
            )
            refuse_without_values(backbone.transformer, f"{path}/transformer")
            refuse_without_values(backbone.vae, f"{path}/vae")
        transformer = backbone.transformer
        family_of(transformer).check_image_to_video(transformer)
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

    @property
    def guidance_scale(self) -> float | int:
        """Weight of the prompt in this step.

        Dynamic guidance rises from 1 along a cosine over the share s of completed steps,
        1 + scale (1 - cos(pi s^5)) / 2. diffusers puts the raw timestep (0..999) in the place of
        completed steps, so that its weight jumps about. A run of the last steps alone has the
        weights that they have in a whole one.
        """
        if not self._dynamic_guidance or self.current_timestep is None:
            return self._guidance_scale
        left_out = 1 - len(self.scheduler.timesteps) / self.scheduler.num_inference_steps
        completed = left_out + (1 - left_out) * self._completed()
        rise = (1 - math.cos(math.pi * completed**5)) / 2
        return 1 + self._guidance_scale * rise

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
        use_dynamic_cfg: bool = False,
        max_sequence_length: int | None = None,
        **diffusion,
    ) -> CogVideoXPipelineOutput | tuple:
        """Generates one video per prompt.

        Args:
            image: first frames, one per prompt: PIL images, tensors [3, H, W] or [B, 3, H, W] in
                [0, 1], or arrays; see `read_images`.
            prompt: one, or a list of B.
            negative_prompt: what guidance leads away from; none = the empty prompt.
            height: in pixels, divisible by 16 (8 with a VAE of three levels); default: as
                retrieved, else the backbone's own.
            width: likewise.
            num_frames: T = 4k + 1; default likewise.
            retrieved: what memory knows of the target cameras, one per prompt, with lengths in
                units of the scene (`Retrieved.in_unit`). None runs the backbone alone.
            control_weight: of the anchors' features (paper: 1.0).
            camera_weight: of the target cameras' features (paper: 1.0).
            control_window: both are added in steps i of the n that are run with
                start <= i / n <= end (0.8: paper appendix A.1 and the released script; the paper's
                section 4.1 says 0.9).
            visible_first_frame: which tokens of the anchors' first frame count as seen: `seen`, or
                `always` all, as the released controller was trained; see `visible_tokens`.
            start: what sampling starts from: `noise`, or the noised `anchors` (`start_video`), of
                which then only the last steps are run (our addition, for any controller or none:
                the weights may be 0).
            start_share: with `anchors`, the share of `num_inference_steps` that is run, in (0, 1];
                at least one step is. At 1 nothing of the anchors is left under the noise of a
                schedule that ends in noise alone, as CogVideoX-5B's does.
            use_dynamic_cfg: lets guidance rise over the steps, see `guidance_scale`.
            max_sequence_length: of the prompt in tokens; default: the backbone's own.
            **diffusion: the arguments of diffusers' CogVideoX image-to-video call that are not
                named here, which mean what they mean there (`num_videos_per_prompt` included:
                diffusers always makes one).

        Returns:
            diffusers' `CogVideoXPipelineOutput`; a tuple with `return_dict=False`.

        Raises:
            ValueError: sizes that the networks do not take or that differ between what is given,
                tiles of the autoencoder that do not divide,
                counts of images, prompts and retrieved that differ, colours outside [0, 1], a
                window that does not lie in [0, 1], an unknown start or one from anchors that are
                not given, or a share outside (0, 1].
        """
        opens, closes = control_window
        if not 0 <= opens <= closes <= 1:
            raise ValueError(
                f"control_window={control_window} is no share of the steps; "
                "give (start, end) with 0 <= start <= end <= 1"
            )
        if start not in ("noise", "anchors") or (start == "anchors" and retrieved is None):
            raise ValueError(
                f"start={start!r} with {'nothing' if retrieved is None else 'anchors'} retrieved; "
                "sampling starts from noise, or from anchors where something was retrieved"
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
        if retrieved is None:
            return super().__call__(**arguments)
        _check_count("retrieved", len(retrieved), videos)
        denoiser = Denoiser(self.transformer, self.controller, self.references)
        references = None
        if self.references is not None:
            references = encode_references(self.vae, retrieved, self._execution_device)
        anchors = encode_retrieved(
            self.vae,
            retrieved,
            sizes.patch_size,
            visible_first_frame,
            self._execution_device,
            self.controller.config.holes,
        )
        weaving = denoiser.weaving(
            anchors,
            control_weight=control_weight,
            camera_weight=camera_weight,
            active=lambda timestep: opens <= self._completed() <= closes,
            references=references,
        )
        if start == "noise":
            with weaving:
                return super().__call__(**arguments)
        firsts = self.video_processor.preprocess(images, *shape[1:])
        firsts = self.video_processor.denormalize(firsts).cpu()
        shown = [one.anchors for one in retrieved]
        begun = start_latents(self.vae, shown, firsts, self._execution_device)
        with weaving, self._starting_at(begun, start_share):
            return super().__call__(**arguments)

    def check_shape(self, frames: int, height: int, width: int) -> None:
        """Refuse a video that the networks cannot make, before any work is done for it.

        Weights that were made for another size are warned of, once.

        Raises:
            ValueError: T is not 4k + 1, a side that the networks do not divide, or a backbone that
                learned its positions at another size.
        """
        self._video_shape(None, frames, height, width)

    def prepare_latents(self, *arguments, **named) -> tuple[Tensor, Tensor]:
        """What diffusers' loop starts from, and the latents of the image; see there."""
        latents, image_latents = super().prepare_latents(*arguments, **named)
        if self._start is not None:
            first = self.scheduler.timesteps[:1]
            latents = self.scheduler.add_noise(self._start.to(latents), latents, first)
        return latents, image_latents

    def progress_bar(self, iterable=None, total: int | None = None):
        """Diffusers' bar, as long as the steps that are run."""
        run = len(self.scheduler.timesteps)
        return super().progress_bar(iterable, total if total is None else run)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Frames [B, 3, T, H, W] from scaled latents [B, t, C, h, w], T = 4 (t - 1) + 1."""
        frames = (latents.shape[1] - 1) * self.vae_scale_factor_temporal + 1
        return super().decode_latents(with_odd_frames(latents))[:, :, :frames]

    def _get_t5_prompt_embeds(
        self,
        prompt: str | list[str],
        num_videos_per_prompt: int = 1,
        max_sequence_length: int = 226,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        # diffusers' own answers the same, but says what it cut in a log line for the whole batch.
        prompts = [prompt] if isinstance(prompt, str) else prompt
        features = encode_prompts(
            self.tokenizer,
            self.text_encoder,
            prompts,
            max_sequence_length,
            device or self._execution_device,
        )
        features = features.to(dtype or self.text_encoder.dtype)
        return features.repeat_interleave(num_videos_per_prompt, dim=0)

    @contextmanager
    def _starting_at(self, start: Tensor, share: float) -> Iterator[None]:
        """While it is entered, diffusers' loop runs its last steps, from latents `start` on."""
        self._start = start
        try:
            with last_steps(self.scheduler, share):
                yield
        finally:
            self._start = None

    def _completed(self) -> float:
        """The share of the steps that are run that lie behind the current one, in [0, 1)."""
        timesteps = self.scheduler.timesteps
        step = (timesteps == self.current_timestep).nonzero()[0].item()
        return step / len(timesteps)

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
    given = prompt_embeds if prompt is None else prompt
    if given is None:
        raise ValueError("nothing says what to make: give a prompt, or prompt_embeds")
    return len(given)


def _check_count(what: str, met: int, videos: int) -> None:
    if met != videos:
        raise ValueError(f"{met} {what} for {videos} prompt(s); give one per prompt")
