import pytest
import torch

from anchorweave.evaluation.perceptual.feature_sets import SetDistance
from anchorweave.evaluation.perceptual.frechet import frechet_distance
from anchorweave.evaluation.perceptual.fvd import FEWEST_FRAMES, FILE, load_fvd
from anchorweave.evaluation.perceptual.samples import NotMeasuredError
from tests.evaluation.perceptual.small import SmallI3D, sample, save


def test_whole_videos_of_any_size_are_set_against_true_ones(tmp_path):
    network = save(SmallI3D(), tmp_path / FILE)
    # 64 x 96, smaller than I3D's 224 x 224: the file resizes, whatever the aspect ratio.
    videos = [sample(n, FEWEST_FRAMES, (64, 96)) for n in range(3)]
    found = load_fvd(tmp_path, "cpu")(iter(videos))

    def features(which):
        batch = 255 * torch.stack([getattr(v, which).permute(1, 0, 2, 3) for v in videos])
        return network(batch, True, True, True)

    expected = frechet_distance(features("video"), features("truth"))
    assert found.distance == pytest.approx(expected, rel=1e-4) and expected > 0
    assert (found.generated, found.true, found.features, found.of) == (3, 3, 400, "videos")


def test_what_is_too_short_or_no_set_is_not_measured(tmp_path):
    save(SmallI3D(), tmp_path / FILE)
    measure = load_fvd(tmp_path, "cpu")
    with pytest.raises(NotMeasuredError, match="videos of 8 frames; I3D .* needs 9"):
        measure([sample(0, 8), sample(1, 8)])
    with pytest.raises(NotMeasuredError, match="1 true videos are too few"):
        measure([sample(0, 9), sample(0, 9, seed=1)])


def test_a_missing_and_another_file_are_named(tmp_path):
    with pytest.raises(
        NotMeasuredError, match=f"{FILE} is not there; get it from https://www.drop"
    ):
        load_fvd(tmp_path, "cpu")
    save(SmallI3D(40), tmp_path / FILE)
    with pytest.raises(NotMeasuredError, match="gives 40 features instead of 400"):
        load_fvd(tmp_path, "cpu")([sample(0, 9)])


def test_a_warning_stands_where_the_covariance_cannot_have_full_rank():
    assert "below 401" in SetDistance(1.0, 500, 400, 400, "videos").warning
    assert SetDistance(1.0, 401, 401, 400, "videos").warning is None
