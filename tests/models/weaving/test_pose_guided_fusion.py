import torch

from anchorweave.models.weaving.pose_guided_fusion import AverageFusion, PoseGuidedFusion
from tests.alike import alike
from tests.models.small import small_anchors


def pose_guided():
    torch.manual_seed(0)
    return PoseGuidedFusion(dim=64, temporal_compression=4)


def test_weights_against_a_plain_loop():
    fusion, anchors = pose_guided(), small_anchors(B=2, N=3)
    weights = fusion(anchors.visible_tokens, anchors.target2source)
    B, N, t, h, w = anchors.visible_tokens.shape
    for b in range(B):
        for k in range(t):
            frames = [0] if k == 0 else range(4 * k - 3, 4 * k + 1)
            trust = [
                sum(
                    fusion.confidence(anchors.target2source[b, n, f, :3].reshape(12)).item()
                    for f in frames
                )
                / len(frames)
                for n in range(N)
            ]
            for i in range(h):
                for j in range(w):
                    seen = [
                        trust[n] * anchors.visible_tokens[b, n, k, i, j].item() for n in range(N)
                    ]
                    expected = torch.tensor(seen) / max(sum(seen), 1e-8)
                    torch.testing.assert_close(weights[b, :, k, i, j], expected)


def test_weights_sum_to_one_where_seen_and_are_zero_elsewhere():
    anchors = small_anchors(B=2, N=3)
    anchors.visible_tokens[0, :, 1] = False
    for fusion in (pose_guided(), AverageFusion()):
        weights = fusion(anchors.visible_tokens, anchors.target2source)
        seen = anchors.visible_tokens.any(dim=1)
        torch.testing.assert_close(weights.sum(dim=1), seen.float())
        assert not weights[~anchors.visible_tokens].any()
        assert torch.isfinite(weights).all()


def test_a_lone_witness_is_believed_whatever_its_confidence():
    anchors = small_anchors(B=1, N=3)
    visible = torch.zeros_like(anchors.visible_tokens)
    visible[:, 1] = True
    weights = pose_guided()(visible, anchors.target2source)
    torch.testing.assert_close(weights, visible.float())


def test_poses_matter_to_pose_guided_only():
    anchors = small_anchors(N=2)
    moved = anchors.target2source.clone()
    moved[:, 0, :, :3, 3] += 5.0
    everywhere = torch.ones_like(anchors.visible_tokens)
    for fusion, differs in ((pose_guided(), True), (AverageFusion(), False)):
        same = alike(
            fusion(everywhere, anchors.target2source).detach(), fusion(everywhere, moved).detach()
        )
        assert same is not differs
    average = AverageFusion()(everywhere, moved)
    assert alike(average, torch.full_like(average, 0.5))
