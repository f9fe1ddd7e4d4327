"""What a prepared clip depends on."""

import json

from anchorweave.datasets.fingerprint import differences, flat
from anchorweave.datasets.splits import SplitConfig
from anchorweave.memory import GlobalCloudConfig, MemoryConfig
from anchorweave.memory.config import ADDED_LATER
from anchorweave.perception import PerceptionConfig
from anchorweave.recordings import RecordingConfig
from tests.training.small_data import PREPARE, write_room
from training.prepare_clips import main
from training.preparing.config import PrepareConfig

OTHER = MemoryConfig(global_cloud=GlobalCloudConfig(voxel=0.05))


def test_options_of_memory_systems_that_are_not_prepared_do_not_count():
    assert PrepareConfig().made() == PrepareConfig(memory=OTHER).made()
    assert not [key for key in PrepareConfig().made() if key.startswith("memory.global_cloud")]


def test_options_of_memory_systems_that_are_prepared_count():
    both = ("local_clouds", "global_cloud")
    first = PrepareConfig(memories=both).made()
    second = PrepareConfig(memories=both, memory=OTHER).made()
    assert differences(first, second) == ["memory.global_cloud.voxel: 0.01 there, 0.05 now"]
    assert first["memory.depth_edge"] == PrepareConfig().made()["memory.depth_edge"]


def test_options_that_came_later_count_where_they_change_something():
    older = PrepareConfig(memories=("global_cloud",)).made()
    assert not older.keys() & ADDED_LATER.keys()
    for option, value in {"choose": "hungarian", "preceding": 9}.items():
        memory = MemoryConfig(global_cloud=GlobalCloudConfig(**{option: value}))
        newer = PrepareConfig(memories=("global_cloud",), memory=memory).made()
        key = f"memory.global_cloud.{option}"
        as_clip = {"memory.global_cloud.preceding_as": "clip"} if option == "preceding" else {}
        assert newer == older | {key: value} | as_clip
        assert getattr(GlobalCloudConfig(), option) == ADDED_LATER[key]
    defaults = flat(PrepareConfig())
    assert {key: defaults[key] for key in ADDED_LATER} == ADDED_LATER
    even = PrepareConfig(split=SplitConfig(step=2), pixels="raw").made()
    assert {key: even[key] for key in ("split.step", "pixels")} == {
        "split.step": 2,
        "pixels": "raw",
    }


def test_a_clip_holds_the_anchors_of_every_memory_system(tmp_path):
    write_room(tmp_path / "room", count=7)
    words = [f"source={tmp_path / 'room'}", f"output={tmp_path / 'out'}", *PREPARE]
    main([*words, "memories=[local_clouds,global_cloud]"])
    (clip,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    slots = {p.name: len(list(p.glob("*.mp4"))) for p in (clip / "anchors").iterdir()}
    assert slots == {"local_clouds": 4, "global_cloud": 1}
    report = json.loads((clip / "report.json").read_text())["global_cloud"]
    assert len(report) == 1 and report[0]["picks"]


def test_what_moves_is_kept_out_of_clips_that_say_so():
    still = PrepareConfig().made()
    moving = PrepareConfig(perception=PerceptionConfig(moving="geometry")).made()
    assert moving["perception.moving"] == "geometry" and moving["perception.geometry.votes"] == 2
    assert not [key for key in still if "moving" in key or "geometry" in key]
    seen = PrepareConfig(recording=RecordingConfig(field_of_view=60.0)).made()
    assert seen["recording.field_of_view"] == 60 and "recording.field_of_view" not in still
