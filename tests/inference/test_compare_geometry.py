import json
from pathlib import Path

import pytest
import torch

from anchorweave.recordings.nerfstudio import write_recording
from inference.compare_geometry import main
from tests.rooms import look, view_room

KITCHEN = Path(__file__).parents[3] / "shared" / "data" / "kitchen"


def test_pose_errors_hurt_the_fused_cloud_more(tmp_path):
    """The paper's claim on a room in closed form, whose poses are wrong by a few centimetres."""
    torch.manual_seed(0)
    positions = torch.tensor([[0.05 * i - 0.7, 0.0, -1.0] for i in range(24)])
    true = look(positions, torch.linspace(-0.3, 0.3, 24), size=(48, 64), focal=60.0)
    seen = view_room(true)
    drifted = true.c2w.clone()
    drifted[:, :3, 3] += 0.15 * torch.randn(24, 3)
    noisy = type(seen)(seen.frames, seen.depth, type(true)(drifted, true.K, true.size), seen.names)
    write_recording(noisy, tmp_path / "room")
    main([f"source={tmp_path / 'room'}", f"output={tmp_path / 'out'}", "height=48", "voxel=0.02"])
    found = json.loads((tmp_path / "out" / "geometry.json").read_text())
    assert found["history_frames"] == 16 and found["target_frames"] == 8
    local = [found["local"][k]["coverage"] for k in "124"]
    assert local == sorted(local)
    expected = found["local_db_where_both"] - found["fused_db_where_both"]
    assert found["local_minus_fused_db"] == pytest.approx(expected)


@pytest.mark.skipif(not KITCHEN.is_dir(), reason=f"the recording {KITCHEN} is not there")
def test_on_a_real_recording_one_local_memory_beats_the_fused_cloud(tmp_path):
    main([f"source={KITCHEN}", f"output={tmp_path}", "height=120", "anchors=[1]"])
    found = json.loads((tmp_path / "geometry.json").read_text())
    assert found["local_minus_fused_db"] > 2
