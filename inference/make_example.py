"""Make a recording of a procedural room, such as the embedded example.

python -m inference.make_example output=data/example_dataset seed=6 frames=72 size=128x192
"""

from __future__ import annotations

import sys
from pathlib import Path

from anchorweave.files import written_aside
from anchorweave.recordings import open_recording, write_recording
from anchorweave.recordings.base import CAPTION

OPTIONS = {"output": "data/example_dataset", "seed": "6", "frames": "72", "size": "128x192"}


def main(words: list[str]) -> None:
    """Write the recording that `words` of the form a=b describe, with its caption."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    unknown = set(given) - set(OPTIONS) | {word for word in words if "=" not in word}
    if unknown:
        raise SystemExit(f"cannot read {sorted(unknown)}; options and defaults are {OPTIONS}")
    options = OPTIONS | given
    words = ",".join(f"{key}={options[key]}" for key in ("seed", "frames", "size"))
    room = open_recording(f"procedural:{words}")
    output = Path(options["output"])
    write_recording(room.clip(range(len(room))), output, suffix=".jpg")
    with written_aside(output / CAPTION) as aside:
        aside.write_text(room.caption() + "\n")
    print(f"{output}: {len(room)} frames of {room.cameras.size[0]}x{room.cameras.size[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
