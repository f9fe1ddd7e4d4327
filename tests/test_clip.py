from dataclasses import replace

import pytest
import torch

from anchorweave.clip import Clip, join_clips
from anchorweave.geometry.cameras import Cameras, intrinsics


def clip(count=4, size=(6, 8), static=None):
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, 0, 3] = torch.arange(count)
    K = intrinsics(8.0, 8.0, 4.0, 3.0).expand(count, 3, 3)
    names = tuple(f"frame {i}" for i in range(count))
    frames = torch.rand(count, 3, *size)
    return Clip(frames, torch.ones(count, *size), Cameras(c2w, K, size), names, static)


def test_a_slice_takes_everything_along():
    whole = clip(static=torch.ones(4, 6, 8, dtype=torch.bool))
    for part in (whole[1:3], whole[[1, 2]]):
        assert part.names == ("frame 1", "frame 2")
        assert part.cameras.centres[:, 0].tolist() == [1.0, 2.0]
        torch.testing.assert_close(part.frames, whole.frames[1:3])
        assert part.static.shape == (2, 6, 8)


def test_split_and_join_gives_the_clip_back():
    whole = clip()
    joined = join_clips([whole[:1], whole[1:]])
    torch.testing.assert_close(joined.frames, whole.frames)
    torch.testing.assert_close(joined.cameras.c2w, whole.cameras.c2w)
    assert joined.names == whole.names and joined.static is None


def test_another_device_takes_everything_along():
    whole = replace(
        clip(static=torch.ones(4, 6, 8, dtype=torch.bool)), sparse=torch.zeros(4, 6, 8)
    ).to("meta")
    tensors = (whole.frames, whole.depth, whole.static, whole.sparse)
    assert all(tensor.is_meta for tensor in (*tensors, whole.cameras.c2w, whole.cameras.K))
    assert clip().to("meta").sparse is None


def test_joining_clips_with_and_without_moving_things():
    moving = torch.zeros(2, 6, 8, dtype=torch.bool)
    joined = join_clips([clip(2, static=moving), clip(3)])
    assert not joined.static[:2].any() and joined.static[2:].all()


def test_counts_and_sizes_must_agree():
    whole = clip()
    with pytest.raises(ValueError, match="4 frames came with {'cameras': 3, 'names': 2}"):
        Clip(whole.frames, whole.depth, whole.cameras[:3], whole.names[:2])
    with pytest.raises(ValueError, match="resize images, depth and cameras together"):
        Clip(whole.frames, whole.depth, whole.cameras.resized((3, 4)), whole.names)


def test_a_mask_of_moving_things_of_another_size_is_refused():
    whole = clip()
    mask = torch.ones(4, 3, 8, dtype=torch.bool)
    # Made without its own __init__, which in tests checks shapes before the class does.
    made = object.__new__(Clip)
    for name, value in {**vars(whole), "static": mask}.items():
        object.__setattr__(made, name, value)
    with pytest.raises(ValueError, match=r"frames are 6x8 .* {'static': \(3, 8\)}; resize"):
        made.__post_init__()
