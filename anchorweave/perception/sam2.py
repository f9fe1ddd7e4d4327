"""Moving objects by text prompts: Grounding DINO's boxes, SAM 2's masks (arXiv 2408.00714).

Every so many frames the detector searches for the prompted objects (arXiv 2303.05499); each box
starts a mask that is tracked to the previous and next detection. Images are resized and normalised
here, because the processors of both networks require torchvision.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d
from transformers import AutoTokenizer, GroundingDinoForObjectDetection, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from anchorweave.clip import Clip
from anchorweave.perception.base import Perception
from anchorweave.perception.depth_network import IMAGENET, prepared
from anchorweave.perception.moving_words import WordsConfig
from anchorweave.perception.weights import found, load_weights
from anchorweave.progress import progress

ASKED = "perception.moving=sam2"
DETECTOR_HUB, SEGMENTER_HUB = "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"
# The image sides that Grounding DINO was trained with.
SHORTER_SIDE, LONGER_SIDE = 800, 1333
# SAM 2's point labels for the first and the last corner of a box.
CORNERS = (2, 3)


class KeepsOut:
    """Wraps a perception plug-in and first detects objects that may move.

    Args:
        perception: the plug-in that provides depth.
        config: what to detect, and how.

    Raises:
        FileNotFoundError: no weights; the message says what to download.
    """

    def __init__(self, perception: Perception, config: WordsConfig):
        self.perception, self.config = perception, config
        self._detector = Detector(config)
        self._segmenter = Segmenter(config)

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip with depth, and with `static` False on detected objects."""
        static = self.still(clip.frames)
        if clip.static is not None:
            static &= clip.static
        return self.perception(replace(clip, static=static), known_depth)

    def still(self, frames: Float[Tensor, "T 3 H W"]) -> Bool[Tensor, "T H W"]:
        """Where frames in [0, 1] show none of the prompted objects [T, H, W]."""
        T, every = len(frames), self.config.every
        moving = torch.zeros(T, *frames.shape[2:], dtype=torch.bool)
        for at in progress(range(0, T, every), "detecting moving objects"):
            boxes = self._detector(frames[at])
            if len(boxes):
                first, end = max(at - every + 1, 0), min(at + every, T)
                moving[first:end] |= self._segmenter(frames[first:end], at - first, boxes)
        grow = self.config.grow
        wider = max_pool2d(moving[:, None].float(), 2 * grow + 1, 1, grow)
        return wider[:, 0] == 0


class Detector:
    """Grounding DINO: boxes of the prompted objects."""

    def __init__(self, config: WordsConfig):
        model, option = config.detector, "perception.sam2.detector"
        self._network = _placed(
            load_weights(GroundingDinoForObjectDetection, model, ASKED, option, DETECTOR_HUB)
        )
        tokenizer = found(
            lambda: AutoTokenizer.from_pretrained(model, local_files_only=True),
            model,
            ASKED,
            option,
            DETECTOR_HUB,
        )
        self._words = tokenizer(config.prompt(), return_tensors="pt")
        if (self._words.input_ids == tokenizer.unk_token_id).any():
            raise ValueError(
                f"perception.sam2.words={list(config.words)}: not all of these are in the "
                f"vocabulary of {model}"
            )
        self._threshold = config.threshold

    @torch.no_grad()
    def __call__(self, frame: Float[Tensor, "3 H W"]) -> Float[Tensor, "N 4"]:
        """Boxes (left, top, right, bottom) in pixels of a frame in [0, 1]."""
        height, width = frame.shape[1:]
        scale = min(SHORTER_SIDE / min(height, width), LONGER_SIDE / max(height, width))
        size = (round(scale * height), round(scale * width))
        outputs = self._network(
            pixel_values=prepared(frame, size, IMAGENET, "bilinear").to(self._network.device),
            **self._words.to(self._network.device),
        )
        sure = outputs.logits[0].sigmoid().amax(dim=-1) > self._threshold
        x, y, w, h = outputs.pred_boxes[0, sure].cpu().unbind(-1)
        corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1).clamp(0, 1)
        return corners * corners.new_tensor([width, height, width, height])


class Segmenter:
    """SAM 2: masks of boxes, tracked through a video."""

    def __init__(self, config: WordsConfig):
        self._network = _placed(
            load_weights(
                Sam2VideoModel,
                config.segmenter,
                ASKED,
                "perception.sam2.segmenter",
                SEGMENTER_HUB,
            )
        )

    @torch.no_grad()
    def __call__(
        self, frames: Float[Tensor, "T 3 H W"], at: int, boxes: Float[Tensor, "N 4"]
    ) -> Bool[Tensor, "T H W"]:
        """Union mask over all objects that frame `at` shows in `boxes`, for each frame [T, H, W].

        Args:
            frames: in [0, 1].
            at: index of the frame that the boxes belong to.
            boxes: left, top, right, bottom in its pixels; at least one.
        """
        network, (height, width) = self._network, tuple(frames.shape[2:])
        side = network.config.image_size
        small = [prepared(frame, (side, side), IMAGENET, "bilinear")[0] for frame in frames]
        session = Sam2VideoInferenceSession(
            video=torch.stack(small),
            video_height=height,
            video_width=width,
            inference_device=network.device,
            dtype=network.dtype,
        )
        corners = boxes * boxes.new_tensor([side / width, side / height]).repeat(2)
        for number, box in enumerate(corners):
            prompts = {
                "point_coords": box.reshape(1, 1, 2, 2),
                "point_labels": torch.tensor([[CORNERS]], dtype=torch.int32),
            }
            session.add_point_inputs(session.obj_id_to_idx(number), at, prompts)
        session.obj_with_new_inputs = list(range(len(corners)))
        masks = torch.zeros(len(frames), height, width, dtype=torch.bool)

        def seen(told) -> None:
            logits = interpolate(told.pred_masks.float().cpu(), (height, width), mode="bilinear")
            masks[told.frame_idx] |= (logits[:, 0] > 0).any(dim=0)

        seen(network(session, frame_idx=at))
        for reverse in (False, True):
            for told in network.propagate_in_video_iterator(session, at, reverse=reverse):
                seen(told)
        return masks


def _placed(network: nn.Module) -> nn.Module:
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
