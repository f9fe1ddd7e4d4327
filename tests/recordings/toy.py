"""Readers of two invented formats, made outside the package.

A folder: `walk.csv`, a line a frame "image fx fy cx cy" and camera-to-world row by row, with OpenCV
axes, beside the images. A file: `NAME.walk`, NumPy arrays `frames` (uint8), `depth` (metres), `c2w`
and `K`.
"""

import numpy as np
import torch

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import image_size
from anchorweave.recordings import Format, Recording
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import inside, usable

LIST, SUFFIX = "walk.csv", ".walk"


def is_walk(folder):
    return (folder / LIST).is_file()


def open_walk(folder, missing, options):
    options.refused(folder, "depth_scale", why=f"{LIST} lists no depth")
    listing = folder / LIST
    lines = [line.split() for line in listing.read_text().splitlines()]
    if any(len(line) != 21 for line in lines):
        raise ValueError(f"{listing}: a line is an image and 20 numbers")
    names = [line[0] for line in lines]
    files = [inside(listing, name) for name in names]
    problems = [None if file.is_file() else f"no {file.name}" for file in files]
    kept = usable(listing, names, problems, missing)
    numbers = torch.tensor([[float(x) for x in lines[i][1:]] for i in kept], dtype=torch.float64)
    given = [options.intrinsics or row[:4].tolist() for row in numbers]
    names, files = [names[i] for i in kept], [files[i] for i in kept]
    cameras = posed_cameras(
        listing,
        names,
        numbers[:, 4:].reshape(-1, 4, 4),
        torch.stack([intrinsics(*one) for one in given]),
        image_size(files[0]),
    )
    return ImageFiles(folder, names, cameras, files)


class Walk(Recording):
    has_depth = True

    def __init__(self, path, options):
        with np.load(path) as stored:
            self.arrays = {key: torch.from_numpy(stored[key]) for key in stored.files}
        frames, K = self.arrays["frames"], self.arrays["K"]
        if options.intrinsics is not None:
            K = intrinsics(*options.intrinsics).expand(len(frames), 3, 3)
        self.path, self.names = path, tuple(f"{i:03d}" for i in range(len(frames)))
        size = tuple(frames.shape[2:])
        self.cameras = posed_cameras(path, self.names, self.arrays["c2w"], K, size)
        self.unit = options.depth_unit(1.0)

    def files(self):
        return [self.path]

    def frame(self, i):
        return self.arrays["frames"][i].float() / 255

    def depth(self, i):
        return self.arrays["depth"][i].float() * self.unit


FOLDER = Format(is_walk, open_walk)
FILE = Format(lambda file: True, lambda file, missing, options: Walk(file, options))
