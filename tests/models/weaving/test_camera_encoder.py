import pytest
import torch

from anchorweave.models.weaving.camera_encoder import CameraEncoder
from tests.models.small import small_anchors


def encoder(**changes):
    torch.manual_seed(0)
    sizes = {"dim": 16, "out_dim": 6, "num_layers": 2, "temporal_compression": 4}
    return CameraEncoder(**(sizes | changes))


def trained(network):
    for project in network.project:
        torch.nn.init.normal_(project.weight)
    return network


def test_starts_at_zero_with_one_feature_a_latent_frame():
    features = encoder()(small_anchors(B=2).target2first)
    assert [tuple(feature.shape) for feature in features] == [(2, 3, 6)] * 2
    assert not any(feature.any() for feature in features)


def test_frame_0_is_its_own_pose_and_layers_differ():
    network = trained(encoder())
    pose = small_anchors().target2first
    features = network(pose)
    for i, feature in enumerate(features):
        raw = pose[:, 0, :3].reshape(1, 12)
        torch.testing.assert_close(feature[:, 0], network.project[i](network.embed[i](raw)))
    assert not torch.allclose(features[0], features[1])
    moved = pose.clone()
    moved[:, 8, 0, 3] += 1.0
    change = (network(moved)[0] - features[0]).abs().amax(dim=(0, 2))
    assert change[0] == 0 and change[2] > 0


def test_rows_are_independent():
    network = trained(encoder())
    pose = small_anchors(B=3).target2first
    together = network(pose)
    for b in range(3):
        for whole, alone in zip(together, network(pose[b : b + 1]), strict=True):
            torch.testing.assert_close(whole[b : b + 1], alone)


def test_one_camera_is_one_latent_frame():
    assert encoder()(small_anchors().target2first[:, :1])[0].shape == (1, 1, 6)


def test_other_compressions():
    assert encoder(temporal_compression=8)(small_anchors().target2first)[0].shape == (1, 2, 6)
    with pytest.raises(ValueError, match="cannot give 6"):
        encoder(temporal_compression=6)


def test_a_wrong_number_of_cameras_is_named():
    with pytest.raises(ValueError, match="8 target cameras"):
        encoder()(small_anchors().target2first[:, :8])
