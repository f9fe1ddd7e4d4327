"""Live retrieval: what memory knows of one view.

Uses `memory.retrieve` itself, for a video of one frame with the view's camera, so that the picks
are exactly those of a real retrieval.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anchorweave.anchors import ChunkReport, Retrieved, composite
from anchorweave.eight_bit import to_image
from anchorweave.geometry.cameras import Cameras
from anchorweave.memory import Memory

# Okabe and Ito's colour-blind-safe colours; slot k has the k-th, cyclically.
SLOT_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
)
NOT_SEEN = (38, 38, 44)
# Widths of images on the page in pixels, of the line above them, gaps and columns.
TILE, LABEL, GAP, COLUMNS = 230, 18, 4, 2
WIDE = COLUMNS * TILE + (COLUMNS - 1) * GAP
LIGHT, DIM = (235, 235, 235), (150, 150, 150)


@dataclass(frozen=True)
class Looked:
    """The retrieval result of a view.

    Args:
        camera: camera of the view [1].
        retrieved: the result.
        seconds: its duration.
    """

    camera: Cameras
    retrieved: Retrieved
    seconds: float

    @property
    def report(self) -> ChunkReport:
        """Which memories were chosen, and why."""
        return self.retrieved.report[0]

    @property
    def coverage(self) -> float:
        """Fraction of the view's coarse pixels that the picks cover together, in [0, 1]."""
        return self.report.picks[-1].coverage if self.report.picks else 0.0


def look(memory: Memory, camera: Cameras) -> Looked:
    """Retrieves for one view.

    Args:
        memory: any system.
        camera: camera of the view [1].
    """
    begun = time.perf_counter()
    retrieved = memory.retrieve(camera)
    return Looked(camera, retrieved, time.perf_counter() - begun)


def slot_colour(slot: int) -> tuple[int, int, int]:
    """The colour of a slot, 0..255."""
    return SLOT_COLOURS[slot % len(SLOT_COLOURS)]


def told(looked: Looked) -> str:
    """The picks as a Markdown table."""
    picks = looked.report.picks
    lines = [
        f"**{looked.coverage:.0%}** of this view is remembered "
        f"({looked.report.pool} memories in the pool, {1000 * looked.seconds:.0f} ms)"
    ]
    if not picks:
        return f"{lines[0]}\n\nNo memory was chosen: {looked.report.stopped}."
    lines += ["", "| slot | memory | gain | coverage |", "| --- | --- | --- | --- |"]
    for pick in picks:
        dot = f'<span style="color:rgb{slot_colour(pick.slot)}">&#9632;</span> {pick.slot}'
        forced = " (given)" if pick.forced else ""
        lines.append(
            f"| {dot}{forced} | {pick.memory}: {_short(pick.name)} | {pick.gain:.1%} | "
            f"{pick.coverage:.1%} |"
        )
    return "\n".join([*lines, "", f"Stopped: {looked.report.stopped}."])


def picture(looked: Looked) -> UInt8[np.ndarray, "h w 3"]:
    """What the picks show of the view: first their composite, then each with its colour.

    Unseen pixels are grey. Systems without anchors show their reference frames.
    """
    retrieved = looked.retrieved
    tiles: list[Image.Image] = []
    if len(retrieved.anchors):
        colours, seen = composite(retrieved.anchors)
        tiles.append(_tile(_shown(colours[0], seen[0]), "composite", LIGHT, WIDE))
        of_slot = {pick.slot: pick for pick in looked.report.picks}
        for slot in range(len(retrieved.anchors)):
            if not retrieved.anchors.visible[slot].any():
                continue
            # The one anchor of a fused memory belongs to no single pick.
            single = len(retrieved.references) > 0 or slot not in of_slot
            label = "all memories, fused" if single else f"slot {slot}: {of_slot[slot].memory}"
            image = _shown(retrieved.anchors.video[slot, 0], retrieved.anchors.visible[slot, 0])
            tiles.append(_tile(image, label, DIM if single else slot_colour(slot)))
    for pick, frame in zip(looked.report.picks, retrieved.references.frames, strict=False):
        label = f"reference {pick.slot}: {pick.memory}"
        tiles.append(_tile(to_image(frame), label, slot_colour(pick.slot)))
    if not tiles:
        H, W = looked.camera.size
        blank = np.full((H, W, 3), NOT_SEEN, np.uint8)
        tiles.append(_tile(blank, "memory knows nothing here", DIM, WIDE))
    return _sheet(tiles)


def _sheet(tiles: list[Image.Image]) -> np.ndarray:
    """A tile as wide as the sheet on top, the others below it in columns."""
    places, top, column = [], 0, 0
    for tile in tiles:
        wide = tile.width > TILE
        places.append((column * (TILE + GAP), top))
        column = 0 if wide else (column + 1) % COLUMNS
        top += 0 if column else tile.height + GAP
    height = max(y + tile.height for (_, y), tile in zip(places, tiles, strict=True))
    sheet = Image.new("RGB", (WIDE, height), (24, 24, 28))
    for at, tile in zip(places, tiles, strict=True):
        sheet.paste(tile, at)
    return np.asarray(sheet)


def _tile(
    pixels: np.ndarray, label: str, colour: tuple[int, int, int], width: int = TILE
) -> Image.Image:
    size = (width, round(width * pixels.shape[0] / pixels.shape[1]))
    tile = Image.new("RGB", (width, size[1] + LABEL), colour)
    tile.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), (0, LABEL))
    draw = ImageDraw.Draw(tile)
    draw.text((5, 2), label, fill=(15, 15, 18), font=ImageFont.load_default(size=12))
    return tile


def _shown(colours: Float[Tensor, "3 H W"], seen: Bool[Tensor, "H W"]) -> np.ndarray:
    pixels = to_image(colours)
    pixels[~seen.numpy()] = NOT_SEEN
    return pixels


def _short(name: str) -> str:
    """The distinctive end of a frame's name."""
    return name if len(name) <= 24 else f"...{name[-21:]}"
