"""Captions from a transformers model: an image captioner, a video captioner or a chat model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, BatchFeature

from anchorweave.eight_bit import to_image
from anchorweave.models.precision import computing_dtype

MAX_TOKENS = 60
# Chat models write whole sentences; T5 reads at most 226 tokens, UMT5 512.
CHAT_TOKENS = 160
CHAT_FRAMES = 8
QUESTION = (
    "These are frames of one video, in order. Describe the place, what stands in it and how the "
    "camera moves in one or two plain sentences, without any introduction."
)


class Captioner:
    """Captions a video from a few of its frames.

    Three kinds of models are distinguished by their files:

    * chat models (with a chat template: Qwen-VL, LLaVA, SmolVLM and similar) get `frames` images
      and the `question`;
    * video models (GIT's, such as microsoft/git-base-vatex) get the number of frames that they
      were trained on, as stated in their config;
    * image models (BLIP, GIT) get the middle frame.

    Args:
        model: folder or hub name.
        device: compute device; chat models use bfloat16 if the device supports it well.
        question: prompt for a chat model; None = `QUESTION`.
        frames: number of frames for a chat model; None = 8.

    Raises:
        FileNotFoundError: the model is neither here nor can it be downloaded.
        ValueError: `question` or `frames` for a model that is not a chat model.
    """

    def __init__(
        self,
        model: str,
        device: torch.device,
        question: str | None = None,
        frames: int | None = None,
    ):
        try:
            self._processor = AutoProcessor.from_pretrained(model)
            self._chats = getattr(self._processor, "chat_template", None) is not None
            dtype = computing_dtype("auto", device) if self._chats else None
            network = AutoModelForImageTextToText.from_pretrained(model, dtype=dtype)
            self._model = network.to(device).eval()
        except (OSError, ValueError, ImportError) as error:
            # An ImportError names a package that its processor requires, such as torchvision.
            why = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
            raise FileNotFoundError(
                f"the captioning model {model!r} cannot be loaded ({why}); "
                "give a folder with its weights, or caption=sidecar or caption=text"
            ) from error
        if not self._chats and (question, frames) != (None, None):
            raise ValueError(
                f"the captioning model {model!r} has no chat template and accepts no prompt; "
                "leave out the question and the number of frames"
            )
        self.name, self._device = model, device
        self._question = question or QUESTION
        if self._chats:
            self._frames = frames or CHAT_FRAMES
        else:
            # Only GIT's configs have this entry, and only video models set it.
            self._frames = getattr(self._model.config, "num_image_with_embedding", None)

    def looks_at(self, count: int) -> list[int]:
        """Indices of the frames to give the model, evenly spread over `count` frames."""
        wanted = self._frames or 1
        return [min(int((2 * i + 1) * count / (2 * wanted)), count - 1) for i in range(wanted)]

    def __call__(self, frames: Float[Tensor, "T 3 H W"]) -> str:
        """A caption for frames in [0, 1].

        Raises:
            ValueError: the model returns no words.
        """
        return self.describe([frames[i] for i in self.looks_at(len(frames))])

    @torch.no_grad()
    def describe(self, shown: Sequence[Float[Tensor, "3 H W"]]) -> str:
        """A caption for just the frames selected by `looks_at`, in [0, 1].

        Raises:
            ValueError: the model returns no words.
        """
        images = [Image.fromarray(to_image(frame)) for frame in shown]
        inputs = self._asked(images) if self._chats else self._shown(images)
        limit = CHAT_TOKENS if self._chats else MAX_TOKENS
        tokens = self._model.generate(**inputs, max_new_tokens=limit, do_sample=False)
        if self._chats:
            # A chat model's output includes its prompt.
            tokens = tokens[:, inputs["input_ids"].shape[1] :]
        caption = self._processor.batch_decode(tokens, skip_special_tokens=True)[0]
        # One line: captions.txt has one line per stretch.
        caption = " ".join(caption.split())
        if not caption:
            raise ValueError(f"the captioning model {self.name!r} returned no words for a frame")
        return caption

    def _shown(self, images: Sequence[Image.Image]) -> BatchFeature:
        inputs = self._processor(images=images, return_tensors="pt").to(self._device)
        if self._frames is not None:
            # One video of several frames, not several images.
            inputs["pixel_values"] = inputs["pixel_values"][None]
        return inputs

    def _asked(self, images: Sequence[Image.Image]) -> BatchFeature:
        content = [
            *({"type": "image", "image": image} for image in images),
            {"type": "text", "text": self._question},
        ]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs.to(self._device, self._model.dtype)
