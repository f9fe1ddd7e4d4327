import pytest
import torch

from anchorweave.evaluation.perceptual.fid import BATCH, FILE, load_fid
from anchorweave.evaluation.perceptual.frechet import frechet_distance
from anchorweave.evaluation.perceptual.samples import NotMeasuredError
from tests.evaluation.perceptual.small import SmallInception, sample, save


def test_generated_frames_are_set_against_true_ones_and_the_given_frame_is_not(tmp_path):
    network = save(SmallInception(), tmp_path / FILE)
    videos = [sample(n, seed=s) for n in range(3) for s in range(2)]
    found = load_fid(tmp_path, "cpu")(iter(videos))
    levels = 255 * torch.cat([v.video[1:] for v in videos])
    true = 255 * torch.cat([v.truth[1:] for v in videos if v.seed == 0])
    expected = frechet_distance(network(levels, True), network(true, True))
    assert found.distance == pytest.approx(expected, rel=1e-5) and expected > 100
    # A true clip counts once, not once a seed.
    assert (found.generated, found.true, found.features, found.of) == (24, 12, 2048, "frames")
    assert "24 generated and 12 true frames; below 2049" in found.warning


def test_a_perfect_row_has_no_distance_also_over_several_batches(tmp_path):
    save(SmallInception(), tmp_path / FILE)
    one = sample(0, frames=BATCH + 7)
    same = type(one)(one.clip, 0, one.truth, one.truth, False)
    found = load_fid(tmp_path, "cpu")([same])
    assert found.distance < 1e-6 and found.generated == BATCH + 6


@pytest.mark.parametrize(
    "videos, message",
    [
        ([sample(0, truth=False)], "no true frames are known"),
        ([], "no true frames are known"),
        ([sample(0, frames=2)], "1 true frames are too few"),
        ([sample(0, frames=1)], "no generated frame"),
    ],
)
def test_what_is_no_set_is_not_measured(tmp_path, videos, message):
    save(SmallInception(), tmp_path / FILE)
    with pytest.raises(NotMeasuredError, match=message):
        load_fid(tmp_path, "cpu")(videos)


def test_a_missing_a_damaged_and_another_file_are_named(tmp_path):
    with pytest.raises(NotMeasuredError, match=f"{FILE} is not there; get it from https://nvlabs"):
        load_fid(tmp_path, "cpu")
    (tmp_path / FILE).write_bytes(b"no network")
    with pytest.raises(NotMeasuredError, match=f"{FILE} cannot be read as TorchScript"):
        load_fid(tmp_path, "cpu")
    save(SmallInception(2, 2), tmp_path / FILE)
    with pytest.raises(NotMeasuredError, match="gives 4 features instead of 2048"):
        load_fid(tmp_path, "cpu")([sample(0)])
