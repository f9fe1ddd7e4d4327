"""Show one clip of several cached rows side by side, as a still and an animated picture.

    python -m inference.show_rows rows=[outputs/e/partial_revisit/k1,outputs/e/partial_revisit/k4]

Rows are made by `python -m inference.generate`. Writes `output`.jpg and `output`.gif: the truth if
known, the anchors of the last row, and every row's video.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.file_sets import written_together
from inference.evaluation.cached_row import CachedRow

QUALITY = 90


@dataclass(frozen=True)
class ShowConfig:
    """What is shown.

    Args:
        rows: row folders.
        clip: the clip's name; null = the first one in the first row.
        seed: seed of the videos.
        frames: number of frames in the still picture, evenly spread in time.
        fps: frame rate of the animation.
        output: the pictures' path without a suffix.

    Raises:
        ValueError: no rows.
    """

    rows: list[str] = field(default_factory=list)
    clip: str | None = None
    seed: int = 0
    frames: int = 4
    fps: int = 8
    output: str = "outputs/rows"

    def __post_init__(self):
        if not self.rows:
            raise ValueError("rows=[]: give one or more row folders")


def main(words: list[str]) -> None:
    """Show with `a.b=c` overrides."""
    config = load_config(ShowConfig, words)
    rows = [CachedRow(Path(path)) for path in config.rows]
    clip = config.clip or first_clip(rows[0])
    target = rows[-1].read_given(clip)
    videos = {"target": target.truth, "composite": target.anchors}
    tiles = {label: video for label, video in videos.items() if video is not None}
    tiles |= {row.path.name: row.read_sample(clip, config.seed)[0] for row in rows}
    montage = side_by_side(tiles)
    output = Path(config.output)
    still, moving = (output.with_suffix(suffix).name for suffix in (".jpg", ".gif"))
    images = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in montage]
    with written_together(output.parent, (still, moving)) as aside:
        contact_sheet(montage, config.frames).save(aside / still, quality=QUALITY)
        images[0].save(
            aside / moving,
            save_all=True,
            append_images=images[1:],
            duration=1000 // config.fps,
            loop=0,
        )
    print(f"{clip}: look at {output}.jpg, {output}.gif")


def first_clip(row: CachedRow) -> str:
    """The name of the first clip in a row.

    Raises:
        FileNotFoundError: it has none.
    """
    clips = sorted(path.name for path in row.path.iterdir() if row.has_given(path.name))
    if not clips:
        raise FileNotFoundError(
            f"{row.path} holds no clip; python -m inference.generate makes them"
        )
    return clips[0]


COMMAND = Command(main, ShowConfig)

if __name__ == "__main__":
    COMMAND.run()
