import numpy as np
import pytest
import torch

from anchorweave.recordings import open_recording
from training.preparing.sharding import Shard
from training.small_models.frames import cache_frames, random_crops, read_frames

ROOM = "procedural:seed=3,frames=3,size=32x48"


def test_frames_are_written_once_as_they_are(tmp_path, capsys):
    paths = cache_frames(ROOM, tmp_path, (32, 48), None, Shard(cpu=True))
    written = np.load(paths[0])
    expected = open_recording(ROOM).clip(range(3)).frames
    assert written.shape == (3, 3, 32, 48)
    assert np.abs(written / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    before = paths[0].stat().st_mtime_ns
    assert cache_frames(ROOM, tmp_path, (32, 48), None, Shard(cpu=True)) == paths
    assert paths[0].stat().st_mtime_ns == before
    assert "1 existed" in capsys.readouterr().out


def test_only_the_first_frames_are_kept_where_so_asked(tmp_path):
    paths = cache_frames(ROOM, tmp_path, (32, 48), 2, Shard(cpu=True))
    assert len(np.load(paths[0])) == 2


def test_frames_of_another_size_are_refused(tmp_path, capsys):
    cache_frames(ROOM, tmp_path, (32, 48), 2, Shard(cpu=True))
    with pytest.raises(SystemExit):
        cache_frames(ROOM, tmp_path, (16, 32), 2, Shard(cpu=True))
    assert "(32, 48), not (16, 32)" in capsys.readouterr().out.replace("\n", "")


def test_another_number_of_frames_is_refused(tmp_path, capsys):
    cache_frames(ROOM, tmp_path, (32, 48), 2, Shard(cpu=True))
    with pytest.raises(SystemExit):
        cache_frames(ROOM, tmp_path, (32, 48), 3, Shard(cpu=True))
    assert "holds 2 frames, not 3" in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(SystemExit):
        cache_frames(ROOM, tmp_path / "long", (32, 48), 4, Shard(cpu=True))
    assert "has 3 frames, not 4" in capsys.readouterr().out.replace("\n", "")


def test_crops_depend_on_the_generator_alone_and_reach_every_corner():
    array = torch.arange(2 * 6 * 8, dtype=torch.uint8).view(2, 1, 6, 8).repeat(1, 3, 1, 1)

    def draw(seed):
        return random_crops([array], 64, 1, (2, 2), torch.Generator().manual_seed(seed))

    crops = draw(0)
    assert crops.shape == (64, 3, 1, 2, 2) and crops.dtype == torch.uint8
    assert torch.equal(crops, draw(0)) and not torch.equal(crops, draw(1))
    corners = set(draw(0)[:, 0, 0, 0, 0].tolist()) | set(draw(2)[:, 0, 0, 0, 0].tolist())
    assert {0, 6, 4 * 8, 4 * 8 + 6} & corners
    assert max(corners) <= 48 + 4 * 8 + 6


@pytest.mark.parametrize("harm", ["cut", "empty", "other"])
def test_frames_that_cannot_be_read_are_named(tmp_path, harm):
    file = tmp_path / "room.npy"
    np.save(file, np.zeros((2, 3, 4, 4), np.float32 if harm == "other" else np.uint8))
    if harm != "other":
        file.write_bytes(file.read_bytes()[: 150 if harm == "cut" else 0])
    with pytest.raises(ValueError, match=f"{file} cannot be read as frames"):
        read_frames(file)
