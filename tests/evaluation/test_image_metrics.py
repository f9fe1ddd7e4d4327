import pytest
import torch

from anchorweave.evaluation.image_metrics import psnr, ssim


def test_psnr_of_a_known_error():
    truth = torch.full((2, 3, 4, 4), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth, truth) == 100.0


def test_psnr_counts_visible_pixels_only():
    truth = torch.zeros(2, 3, 4, 4)
    video = truth.clone()
    video[0, :, 0, 0] = 0.1
    video[1] = 1.0
    visible = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert psnr(video, truth, visible) is None
    visible[0, 0, 0] = True
    assert psnr(video, truth, visible) == pytest.approx(20.0, abs=1e-4)
    visible[0] = True
    assert psnr(video, truth, visible) == pytest.approx(20.0 + 12.0412, abs=1e-3)


def test_ssim_falls_with_structure():
    torch.manual_seed(0)
    truth = torch.rand(2, 3, 32, 32)
    assert ssim(truth, truth) == pytest.approx(1.0, abs=1e-5)
    assert ssim(truth.flip(-1), truth) < 0.2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_pixel_that_is_no_number_is_no_perfect_score(value):
    truth = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    video = truth.clone()
    video[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="1 of 512 pixels.*not finite"):
        psnr(video, truth)
    with pytest.raises(ValueError, match="not finite"):
        ssim(video, truth)
    # A pixel that does not count may be anything.
    visible = torch.ones(2, 16, 16, dtype=torch.bool)
    visible[1, 3, 4] = False
    assert psnr(video, truth, visible) == 100.0
