"""A pipeline of the toy family: the shortest loop that diffusers' pipelines share."""

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.video_processor import VideoProcessor

from anchorweave.models.backbones import codec_of, family_of
from anchorweave.pipelines.weaving import WeavingMixin
from tests.models.backbones.toy import TEXT


class ToyImageToVideo(DiffusionPipeline):
    def __init__(self, vae, transformer, scheduler):
        super().__init__()
        self.register_modules(vae=vae, transformer=transformer, scheduler=scheduler)
        self.video_processor = VideoProcessor(vae_scale_factor=8)
        self._current_timestep = None

    @property
    def current_timestep(self):
        return self._current_timestep

    def __call__(
        self,
        image,
        prompt,
        negative_prompt=None,
        num_frames=9,
        height=32,
        width=48,
        max_sequence_length=5,
        num_inference_steps=2,
        generator=None,
    ):
        family, B = family_of(self.transformer), len(image)
        first = self.video_processor.preprocess(image, height, width)
        first = self.video_processor.denormalize(first)[:, None]
        shown = codec_of(self.vae).encode(first)
        t = (num_frames - 1) // 4 + 1
        noise = torch.randn(B, t, *shown.shape[2:], generator=generator)
        empty = torch.zeros_like(noise)
        empty[:, :1] = shown
        text = torch.ones(B, max_sequence_length, TEXT)
        self.scheduler.set_timesteps(num_inference_steps)
        for timestep in self.scheduler.timesteps:
            self._current_timestep = timestep
            said = family.predict(
                self.transformer, noise, empty, text, timestep.expand(B).float(), None
            )
            noise = self.scheduler.step(said, timestep, noise, return_dict=False)[0]
        self._current_timestep = None
        return ImagePipelineOutput(images=noise)


class ToyPipeline(WeavingMixin, ToyImageToVideo):
    official = ToyImageToVideo

    def __init__(self, vae, transformer, controller, scheduler=None, references=None):
        super().__init__(vae, transformer, scheduler or FlowMatchEulerDiscreteScheduler())
        self.register_modules(controller=controller, references=references)
