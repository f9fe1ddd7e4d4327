"""A family that is as unlike CogVideoX as Wan is, made outside the package.

Channels come first, the clean image stands in the place of frame 0 at timestep 0, blocks return one
tensor, text is no part of the sequence, and the noise process is flow matching.
"""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import nn

from anchorweave.diffusion.process import NoiseProcess
from anchorweave.models.backbones import BackboneCall, BackboneSizes, Family
from anchorweave.models.codec.base import TextEncoder, VideoCodec

WIDTH, LAYERS, C, TEXT, TIME, PATCH = 16, 3, 4, 12, 8, 2


class ToyBlock(nn.Module):
    def __init__(self, dim, time_dim):
        super().__init__()
        self.own, self.mean = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.text, self.time = nn.Linear(dim, dim), nn.Linear(time_dim, dim)

    def forward(self, tokens, text, time):
        around = self.mean(tokens).mean(1, keepdim=True) + self.text(text).mean(1, keepdim=True)
        return tokens + torch.tanh(self.own(tokens) + around + self.time(time))


class ToyControllerBlock(ToyBlock):
    def forward(self, tokens, text, time, table, mask):
        return super().forward(tokens, text, time[:, None]), text


class ToyTransformer(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, depth: int = LAYERS):
        super().__init__()
        self.patch = nn.Conv2d(C, WIDTH, PATCH, stride=PATCH)
        self.text, self.time = nn.Linear(TEXT, WIDTH), nn.Linear(1, TIME)
        self.layers = nn.ModuleList(ToyBlock(WIDTH, TIME) for _ in range(depth))
        self.out = nn.Linear(WIDTH, C * PATCH**2)

    def forward(self, latents, text, frame_timesteps):
        B, _, t, h, w = latents.shape
        tokens = self.patch(rearrange(latents, "B C t h w -> (B t) C h w"))
        tokens = rearrange(tokens, "(B t) D h w -> B (t h w) D", B=B)
        time = self.time(frame_timesteps[..., None] / 1000)
        time = time.repeat_interleave(tokens.shape[1] // t, dim=1)
        text = self.text(text)
        for layer in self.layers:
            tokens = layer(tokens, text, time)
        return rearrange(
            self.out(tokens), "B (t h w) (C a b) -> B C t (h a) (w b)", t=t, h=h // 2, a=2, b=2
        )


class ToyVAE(nn.Module):
    """Mean colours; it has a weight so that it has a place and a type."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.dtype, self.device = torch.float32, torch.device("cpu")


class ToyCodec(VideoCodec):
    tile_step = 32
    in_time, in_space, channels = 4, 8, C
    mean = torch.tensor([0.5, -0.5, 0.0, 0.0])[:, None, None]

    def scaled(self, latents):
        return (latents - self.mean) / 2

    def unscaled(self, latents):
        return latents * 2 + self.mean

    def fit_scale(self, latents):
        pass

    def lay_out_tiles(self, tile=None):
        pass

    def check_tiles(self, size):
        pass

    def _encoded(self, signed, generator):
        small = rearrange(signed, "B T c (h a) (w b) -> B T c h w (a b)", a=8, b=8).mean(-1)
        later = rearrange(small[:, 1:], "B (t f) c h w -> B t f c h w", f=4).mean(2)
        frames = torch.cat([small[:, :1], later], dim=1)
        return torch.cat([frames, torch.zeros_like(frames[:, :, :1])], dim=2) * self.vae.gain

    def _decoded(self, latents):
        frames = latents[:, :, :3].repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)
        return torch.cat([frames[:, :1], frames[:, 1:].repeat_interleave(4, dim=1)], dim=1)


class ToyText(TextEncoder):
    def encode(self, prompts, max_length, device=None):
        return torch.zeros(len(prompts), max_length, TEXT)


class Flow(NoiseProcess):
    total, given_frames = 1000, 1
    device = torch.device("cpu")

    def to(self, device):
        return self

    def _share(self, timestep):
        return (timestep / self.total)[:, None, None, None, None]

    def add_noise(self, latents, noise, timestep):
        return (1 - self._share(timestep)) * latents + self._share(timestep) * noise

    def target(self, latents, noise, timestep):
        return noise - latents

    def clean_from(self, noisy, predicted, timestep):
        return noisy - self._share(timestep) * predicted

    def weight(self, error_in, timestep):
        share = timestep / self.total
        return {"x0": share**0, "v": share**-2, "epsilon": (1 - share) ** 2 / share**2}[error_in]


class Toy(Family):
    name = "toy"
    parts = {"transformer": ToyTransformer, "vae": ToyVAE}
    block_arguments = ("text", "time")
    codec, text, published = ToyCodec, ToyText, ("Toy", {"depth": LAYERS})

    def blocks(self, backbone):
        return backbone.layers

    def sizes_of(self, config):
        return BackboneSizes(
            backbone_dim=WIDTH,
            num_layers=config["depth"],
            num_heads=2,
            head_dim=8,
            input_channels=C,
            latent_channels=C,
            text_dim=TEXT,
            text_tokens=5,
            time_embed_dim=TIME,
            feed_forward=4 * WIDTH,
            patch_size=PATCH,
            temporal_compression=4,
            rotary=False,
            frames=9,
            latent_size=(4, 6),
        )

    def check_image_to_video(self, backbone, channels):
        pass

    def process(self, scheduler):
        return Flow()

    def positions(self, backbone, latent_size, device=None):
        return None

    def condition(self, noisy, image, timestep):
        latents = torch.cat([image[:, :1], noisy[:, 1:]], dim=1)
        times = timestep[:, None].repeat(1, noisy.shape[1]).float()
        times[:, 0] = 0
        return rearrange(latents, "B t C h w -> B C t h w"), times

    def predict(self, backbone, noisy, image, text, timestep, positions):
        latents, times = self.condition(noisy, image, timestep)
        return rearrange(backbone(latents, text, times), "B C t h w -> B t C h w")

    def read_call(self, backbone, args, kwargs):
        latents, text, times = args
        return BackboneCall(rearrange(latents, "B C t h w -> B t C h w"), text, times[:, -1], None)

    def controller_share(self, sizes):
        return 1, sizes.num_heads

    def controller_block(self, dim, num_heads, head_dim, time_embed_dim, feed_forward):
        return ToyControllerBlock(dim, time_embed_dim)

    def arranged(self, place, positions, text_tokens):
        return None, None

    def sources(self, backbone):
        return {}

    def patch(self, backbone):
        return backbone.patch.weight, backbone.patch.bias

    def first_frame_positions(self, backbone, height, width):
        return None

    def timesteps_ahead(self, arguments, added):
        time = arguments["time"]
        clean = time.new_zeros(len(time), added, time.shape[-1])
        return {"time": torch.cat([clean, time], dim=1)}
