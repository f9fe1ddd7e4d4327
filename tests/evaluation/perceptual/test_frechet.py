import pytest
import torch

from anchorweave.evaluation.perceptual.frechet import frechet_distance


def with_moments(number, mean, covariance, seed):
    """Samples [number, D] whose mean and unbiased covariance are exactly these."""
    noise = torch.randn(number, len(mean), generator=torch.Generator().manual_seed(seed)).double()
    white, _ = torch.linalg.qr(noise - noise.mean(dim=0))
    root = torch.linalg.cholesky(covariance)
    return mean + white * (number - 1) ** 0.5 @ root.mT


def progress(one, other):
    """Plain loops for mean and covariance, then the trace by the eigenvalues of the product."""
    moments = []
    for features in (one.double(), other.double()):
        N, D = features.shape
        mean = [sum(features[n, d].item() for n in range(N)) / N for d in range(D)]
        covariance = torch.zeros(D, D, dtype=torch.float64)
        for i in range(D):
            for j in range(D):
                products = (
                    (features[n, i] - mean[i]) * (features[n, j] - mean[j]) for n in range(N)
                )
                covariance[i, j] = sum(p.item() for p in products) / (N - 1)
        moments.append((mean, covariance))
    (m, a), (n, b) = moments
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    between = sum((x - y) ** 2 for x, y in zip(m, n, strict=True))
    return between + (a.trace() + b.trace() - 2 * root).item()


def test_of_gaussians_along_the_axes_it_is_known_in_closed_form():
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    one = with_moments(40, mean, torch.diag(torch.tensor([4.0, 9.0, 1.0]).double()), 0)
    other = with_moments(25, mean + 2, torch.diag(torch.tensor([1.0, 1.0, 16.0]).double()), 1)
    # 3 x 2^2 between the means, and the squared differences of the spreads.
    expected = 12 + (2 - 1) ** 2 + (3 - 1) ** 2 + (1 - 4) ** 2
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_of_commuting_covariances_it_is_the_distance_of_their_roots(seed):
    generator = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator).double())
    spreads = 1 + torch.rand(2, 4, generator=generator).double()
    covariances = [axes * spread.square() @ axes.mT for spread in spreads]
    zero = torch.zeros(4).double()
    pair = [with_moments(30, zero, c, seed) for c in covariances]
    expected = (spreads[0] - spreads[1]).square().sum().item()
    assert frechet_distance(*pair) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("sizes", [(20, 30), (4, 30), (4, 3)])
def test_it_is_what_plain_loops_give_with_full_rank_and_without(sizes):
    generator = torch.Generator().manual_seed(7)
    one, other = (torch.randn(n, 5, generator=generator) * (1 + n / 20) for n in sizes)
    # The loops take the root of rounding errors where the rank is not full.
    assert frechet_distance(one, other) == pytest.approx(progress(one, other), abs=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-12)


def test_a_set_has_no_distance_from_itself_even_with_fewer_samples_than_features():
    features = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    assert 0 <= frechet_distance(features, features) < 1e-10
    assert frechet_distance(features, features + 1) == pytest.approx(50, rel=1e-6)


@pytest.mark.parametrize(
    "other, message",
    [(torch.zeros(1, 4), "1 samples"), (torch.full((3, 4), torch.nan), "not finite")],
)
def test_bad_input_is_refused(other, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(torch.zeros(3, 4), other)
