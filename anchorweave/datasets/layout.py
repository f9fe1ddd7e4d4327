"""The layout of a prepared data set: all file names.

    ROOT/prepare.yaml                     how it was prepared
    ROOT/empty_caption.safetensors        features of the empty prompt
    ROOT/quarantine.json                  excluded clips, and why (written by the doctor)
    ROOT/CLIP/clip.json                   what the clip is, and the settings it was made with
    ROOT/CLIP/video.mp4                   the target frames
    ROOT/CLIP/pixels.safetensors          replaces all .mp4 files if pixels are stored raw
    ROOT/CLIP/captions/caption.txt        the caption
    ROOT/CLIP/cameras.npz                 target cameras, relative poses, the scene's unit
    ROOT/CLIP/report.json                 what each memory system retrieved, and why
    ROOT/CLIP/anchors/MEMORY/anchor_0.mp4 ...  anchor videos
    ROOT/CLIP/anchors/MEMORY/visible.npz  which of their pixels were observed
    ROOT/CLIP/references/MEMORY/000.png ...  reference frames
    ROOT/CLIP/preceding/MEMORY/video.mp4  the frames before the target, if any
    ROOT/CLIP/preceding/MEMORY/...        anchors at their cameras, as in anchors/MEMORY
    ROOT/CLIP/latents.safetensors         all videos and references, encoded
    ROOT/CLIP/caption.safetensors         the caption, encoded

The pixel files are written by preparing (`prepared_clip.py`), the last two by precomputing
(`encoded_clip.py`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from anchorweave.errors import ToldError
from anchorweave.files import unfinished, write_json

RECORD = "clip.json"
VIDEO = "video.mp4"
PIXELS = "pixels.safetensors"
CAPTION = "captions/caption.txt"
CAMERAS = "cameras.npz"
REPORT = "report.json"
ANCHORS = "anchors"
REFERENCES = "references"
PRECEDING = "preceding"
VISIBLE = "visible.npz"
LATENTS = "latents.safetensors"
CAPTION_FEATURES = "caption.safetensors"

CONFIG = "prepare.yaml"
EMPTY_CAPTION = "empty_caption.safetensors"
QUARANTINE = "quarantine.json"

# Clip list of the authors' released data set, which has no clip records.
RELEASED_LIST = "train.txt"
# Folders listed in a message; the rest is only counted.
NAMED = 5


class BadClip(ToldError):  # noqa: N818 - it is about the clip, not about the program
    """A clip that cannot be used.

    Args:
        path: the clip's folder.
        reason: what is wrong with it. None: `path` is the whole message of an earlier BadClip,
            which is how torch's DataLoader re-raises the exceptions of its workers.
    """

    def __init__(self, path: str | Path, reason: str | None = None):
        if reason is None:
            last = str(path).strip().splitlines()[-1]
            path, _, reason = last.rpartition("BadClip: ")[2].partition(": ")
        reason = " ".join(reason.split())
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


@contextmanager
def reading(clip: Path, what: str) -> Iterator[None]:
    """Converts errors while reading `what` into one BadClip that names it.

    Raises:
        BadClip: a missing, unreadable or incomplete file.
    """
    try:
        yield
    except BadClip:
        raise
    except FileNotFoundError as error:
        raise BadClip(clip, f"{what} is missing") from error
    # Readers of JSON, npz, safetensors and video raise various errors, depending on the damage.
    except Exception as error:
        raise BadClip(clip, f"{what} cannot be read ({error or type(error).__name__})") from error


def anchor_folder(clip: Path, memory: str) -> Path:
    """Folder of the anchors of one memory system."""
    return clip / ANCHORS / memory


def preceding_folder(clip: Path, memory: str) -> Path:
    """Folder of the preceding frames of one memory system, and of the anchors at their cameras."""
    return clip / PRECEDING / memory


def preceding_video(clip: Path, memory: str) -> Path:
    """The preceding frames."""
    return preceding_folder(clip, memory) / VIDEO


def anchor_video(folder: Path, slot: int) -> Path:
    """The video of one anchor in `anchor_folder` or `preceding_folder`."""
    return folder / f"anchor_{slot}.mp4"


def reference_frame(clip: Path, memory: str, number: int) -> Path:
    """The image of one reference."""
    return clip / REFERENCES / memory / f"{number:03d}.png"


def prepared_clips(root: str | Path) -> list[Path]:
    """The folders of all prepared clips of a data set, by name.

    Raises:
        ValueError: there are none; the message says what was expected and what exists.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: 0 clips, because there is no such folder; prepare one first")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    # Clips whose preparation was interrupted have a name with a leading dot.
    clips = [path for path in folders if path.name[0] != "." and (path / RECORD).is_file()]
    if not clips:
        raise ValueError(
            f"{root}: 0 clips; looked for folders with {RECORD}, {_met(root, folders)}"
        )
    return clips


def remove_unfinished(path: Path) -> None:
    """Removes temporary files or folders left for `path` by runs that have ended."""
    for left in unfinished(path):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def read_json(path: Path) -> dict:
    """The contents of a JSON file of this layout."""
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def read_quarantine(root: str | Path) -> dict[str, str]:
    """Clips of a data set to exclude, with the reason; empty without such a list.

    Raises:
        ValueError: the list is not a JSON object of names and reasons.
    """
    path = Path(root) / QUARANTINE
    return read_json(path) if path.exists() else {}


def write_quarantine(root: str | Path, reasons: Mapping[str, str]) -> Path:
    """Writes which clips of a data set to exclude, and why."""
    path = Path(root) / QUARANTINE
    write_json(dict(sorted(reasons.items())), path)
    return path


def _met(root: Path, folders: list[Path]) -> str:
    if (root / RELEASED_LIST).is_file():
        return f"found {RELEASED_LIST}: this is a data set in the authors' released layout"
    if (root / RECORD).is_file():
        return f"found {RECORD} in it: this is one clip; give the folder above it"
    unfinished = sum(path.name.startswith(".partial-") for path in folders)
    others = [path.name for path in folders if not path.name.startswith(".partial-")]
    if not others:
        left = f"only {unfinished} unfinished clips" if unfinished else "no folders at all"
        return f"found {left}; prepare clips first (scripts/prepare_data.sh)"
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"found folders without it ({', '.join(others[:NAMED])}{more}); is this a recording?"
