import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anchorweave.recordings.nerfstudio import write_recording
from inference.compare_geometry import main
from tests.rooms import look, view_room

KITCHEN = Path(__file__).parents[3] / "shared" / "data" / "kitchen"


def test_drifting_poses_hurt_the_fused_cloud_more(tmp_path):
    """The paper's claim on a room in closed form: poses drift, as those of a real tracker do."""
    positions = torch.tensor([[0.05 * i - 0.7, 0.0, -1.0] for i in range(24)])
    true = look(positions, torch.linspace(-0.3, 0.3, 24), size=(48, 64), focal=60.0)
    seen = view_room(true, detail=4.0)
    drifted = true.c2w.clone()
    drifted[:, 1, 3] += torch.linspace(0, 0.5, 24)
    noisy = replace(seen, cameras=replace(true, c2w=drifted))
    write_recording(noisy, tmp_path / "room")
    options = ["height=48", "memory.global_cloud.voxel=0.02"]
    main([f"source={tmp_path / 'room'}", f"output={tmp_path / 'out'}", *options])
    found = json.loads((tmp_path / "out" / "geometry.json").read_text())
    assert found["history_frames"] == 16 and found["target_frames"] == 8
    local = [found["local"][k]["coverage"] for k in "124"]
    assert local == sorted(local)
    difference = found["local_db_where_both"] - found["fused_db_where_both"]
    assert found["local_minus_fused_db"] == pytest.approx(difference)
    assert difference > 1


@pytest.mark.skipif(not KITCHEN.is_dir(), reason=f"the recording {KITCHEN} is not there")
def test_on_a_real_recording_one_local_memory_beats_the_fused_cloud(tmp_path):
    main([f"source={KITCHEN}", f"output={tmp_path}", "height=120", "anchors=[1]"])
    found = json.loads((tmp_path / "geometry.json").read_text())
    assert found["local_minus_fused_db"] > 2
