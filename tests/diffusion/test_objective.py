import pytest
import torch

from anchorweave.diffusion.objective import ObjectiveConfig, clip_loss
from anchorweave.diffusion.v_prediction import VPrediction
from tests.alike import alike

B, SHAPE = 4, (4, 3, 5, 3, 6)
# the ends of CogVideoX's schedule (1 - 8.5e-4 and, with zero terminal signal, 0) and between
ALPHA_BAR = torch.tensor([0.99915, 0.7, 0.2, 0.0], dtype=torch.float64)
PROCESS, EACH = VPrediction(ALPHA_BAR), torch.arange(B)


def noisy_clip(dtype=torch.float64, seed=0):
    make = torch.Generator().manual_seed(seed)
    x, e, d = (torch.randn(SHAPE, generator=make, dtype=torch.float64) for _ in range(3))
    a = ALPHA_BAR[:, None, None, None, None]
    v = a.sqrt() * e - (1 - a).sqrt() * x
    noisy = PROCESS.add_noise(x, e, EACH)
    return [part.to(dtype) for part in (x, e, v, noisy, d)]


def per_sample(error):
    return error.square().flatten(1).mean(1)


def test_noise_and_v_go_round_in_float64():
    x, e, v, noisy, _ = noisy_clip()
    assert alike(PROCESS.target(x, e, EACH), v)
    torch.testing.assert_close(PROCESS.clean_from(noisy, v, EACH), x, rtol=0, atol=1e-14)


def test_noise_keeps_unit_variance():
    x, e, *_ = noisy_clip()
    noisy = PROCESS.add_noise(x, e, EACH)
    assert torch.equal(noisy[3], e[3])
    assert (noisy.flatten(1).var(1) - 1).abs().max() < 0.3


def test_the_true_v_has_no_loss():
    x, _, v, noisy, _ = noisy_clip(torch.float32)
    loss = clip_loss(PROCESS, v, noisy, x, EACH, ObjectiveConfig(motion_error_in="v"))
    assert loss.total.max() < 1e-9


@pytest.mark.parametrize("error_in", ["v", "epsilon", "x0"])
def test_each_error_is_the_plain_square_of_its_quantity(error_in):
    """1 / (1 - a) |dx|^2 = |dv|^2, and a / (1 - a) |dx|^2 = |de|^2."""
    x, e, v, noisy, d = noisy_clip()
    a = ALPHA_BAR[:, None, None, None, None]
    said = v + d
    error = {
        "v": said - v,
        "epsilon": ((1 - a).sqrt() * noisy + a.sqrt() * said) - e,
        "x0": (a.sqrt() * noisy - (1 - a).sqrt() * said) - x,
    }[error_in]
    config = ObjectiveConfig(error_in=error_in, motion_weight=0.5, motion_error_in=error_in)
    loss = clip_loss(PROCESS, said, noisy, x, EACH, config)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(
        loss.reconstruction.double(), per_sample(error), rtol=1e-3, atol=1e-6
    )
    motion = per_sample(error[:, 1:] - error[:, :-1])
    torch.testing.assert_close(loss.motion.double(), motion, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(loss.total, (loss.reconstruction + loss.motion) / 2)


def test_the_released_objective():
    x, _, v, noisy, d = noisy_clip()
    loss = clip_loss(PROCESS, v + d, noisy, x, EACH, ObjectiveConfig())
    main = per_sample(d)
    # The released motion term is not weighted, so it fades with the noise.
    motion = (1 - ALPHA_BAR) * per_sample(d[:, 1:] - d[:, :-1])
    torch.testing.assert_close(loss.total.double(), 0.8 * main + 0.2 * motion, rtol=1e-3, atol=1e-6)


def test_the_optimal_denoiser_of_a_gaussian_has_the_loss_of_theory():
    """Latents N(m, s^2): the best v is linear in noisy and errs by s^2 / (a s^2 + 1 - a)."""
    mean, std, count = 0.5, 2.0, 40_000
    make = torch.Generator().manual_seed(1)
    shape = (4, 2, 1, 1, count)
    x = mean + std * torch.randn(shape, generator=make)
    e = torch.randn(shape, generator=make)
    a = ALPHA_BAR.float()[:, None, None, None, None]
    noisy = PROCESS.add_noise(x, e, EACH)
    variance = a * std**2 + (1 - a)
    shrink = a.sqrt() * std**2 / variance
    x_best = mean + shrink * (noisy - a.sqrt() * mean)
    # v from x and noisy: e = (noisy - sqrt(a) x) / sqrt(1 - a)
    v_best = a.sqrt() * (noisy - a.sqrt() * x_best) / (1 - a).sqrt() - (1 - a).sqrt() * x_best
    config = ObjectiveConfig(motion_error_in="v")
    best = clip_loss(PROCESS, v_best, noisy, x, EACH, config)
    theory = std**2 / variance.flatten()
    torch.testing.assert_close(best.reconstruction, theory, rtol=0.03, atol=0)
    # Two frames err independently, so their difference errs twice as much.
    torch.testing.assert_close(best.motion, 2 * theory, rtol=0.03, atol=0)
    for other in (v_best + 0.1 * noisy, v_best + 0.1):
        assert (clip_loss(PROCESS, other, noisy, x, EACH, config).total > best.total).all()


def test_motion_sees_change_over_time_and_nothing_else():
    x, _, v, noisy, _ = noisy_clip()
    config = ObjectiveConfig(motion_error_in="v")
    constant = clip_loss(PROCESS, v + 0.5, noisy, x, EACH, config)
    torch.testing.assert_close(constant.reconstruction, torch.full((B,), 0.25), rtol=1e-3, atol=0)
    assert constant.motion.max() < 1e-6
    flicker = torch.tensor([0.5, -0.5, 0.5], dtype=torch.float64)[None, :, None, None, None]
    flickering = clip_loss(PROCESS, v + flicker, noisy, x, EACH, config)
    torch.testing.assert_close(flickering.reconstruction, constant.reconstruction)
    torch.testing.assert_close(flickering.motion, torch.ones(B), rtol=1e-3, atol=0)


def test_a_single_frame_has_no_motion():
    x, _, v, noisy, d = (part[:, :1] for part in noisy_clip())
    loss = clip_loss(PROCESS, v + d, noisy, x, EACH, ObjectiveConfig())
    assert torch.equal(loss.motion, torch.zeros(B))
    torch.testing.assert_close(loss.total, 0.8 * loss.reconstruction)


def test_a_sample_does_not_see_its_batch():
    x, _, v, noisy, d = noisy_clip(torch.float32)
    together = clip_loss(PROCESS, v + d, noisy, x, EACH, ObjectiveConfig())
    for i in range(B):
        one = slice(i, i + 1)
        alone = clip_loss(PROCESS, (v + d)[one], noisy[one], x[one], EACH[one], ObjectiveConfig())
        torch.testing.assert_close(alone.total, together.total[one], rtol=1e-6, atol=0)


def test_bfloat16_predictions_are_judged_in_float32():
    x, _, v, noisy, d = noisy_clip(torch.float32)
    said = (v + d).bfloat16()
    loss = clip_loss(PROCESS, said, noisy, x, EACH, ObjectiveConfig())
    exact = clip_loss(PROCESS, said.float(), noisy, x, EACH, ObjectiveConfig())
    assert alike(loss.total, exact.total)


def test_gradient_is_that_of_the_mean_square():
    x, _, v, noisy, d = noisy_clip()
    said = (v + d).requires_grad_()
    config = ObjectiveConfig(motion_weight=0.0)
    clip_loss(PROCESS, said, noisy, x, EACH, config).total.sum().backward()
    torch.testing.assert_close(said.grad, 2 * d / d[0].numel(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_motion_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="motion_weight"):
        ObjectiveConfig(motion_weight=share)


def test_frames_that_are_given_do_not_count():
    class FirstGiven(VPrediction):
        given_frames = 1

    x, _, v, noisy, d = noisy_clip()
    config = ObjectiveConfig(motion_error_in="v")
    loss = clip_loss(FirstGiven(ALPHA_BAR), v + d, noisy, x, EACH, config)
    behind = [part[:, 1:] for part in (v + d, noisy, x)]
    without = clip_loss(PROCESS, *behind, EACH, config)
    torch.testing.assert_close(loss.total, without.total)
    d[:, 0] += 10
    again = clip_loss(FirstGiven(ALPHA_BAR), v + d, noisy, x, EACH, config)
    torch.testing.assert_close(again.total, loss.total)


def test_a_clip_that_is_given_whole_is_refused():
    class FirstGiven(VPrediction):
        given_frames = 1

    x, _, v, noisy, _ = noisy_clip()
    with pytest.raises(ValueError, match="1 latent frame.*leave nothing to predict"):
        clip_loss(FirstGiven(ALPHA_BAR), v[:, :1], noisy[:, :1], x[:, :1], EACH, ObjectiveConfig())
