"""Recordings to clips: the same files however often, by however many processes, after any kill."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.prepared_clip_reading import (
    read_anchors,
    read_cameras,
    read_caption,
    read_record,
    read_target,
)
from anchorweave.geometry.cameras import inverse_rigid
from tests.alike import alike
from tests.training.small_data import PREPARE, TWO, assert_made_alike, contents, run, write_room
from training import prepare_clips
from training.prepare_clips import main

KILLED = """
import os, signal, sys
from anchorweave.datasets import clip_videos
from training.prepare_clips import main
write, calls = clip_videos.write_video, []
def killing(*args):
    calls.append(args)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*args)
clip_videos.write_video = killing
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    write_room(folder / "one")
    write_room(folder / "two", count=7, offset=0.3)
    return folder


def words(rooms, output, *more):
    return [f"source={rooms}", f"output={output}", *PREPARE, *more]


@pytest.fixture(scope="module")
def prepared(rooms, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared")
    main(words(rooms, output))
    return output


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "copy")


def test_every_clip_has_all_its_parts(prepared):
    clips = sorted(path.name for path in prepared.iterdir() if path.is_dir())
    assert clips == ["one_000000", "one_000007", "two_000000"]
    anchors = {f"anchors/local_clouds/anchor_{slot}.mp4" for slot in range(4)}
    for clip in clips:
        assert set(contents(prepared / clip)) == {
            "video.mp4",
            "captions/caption.txt",
            "cameras.npz",
            "clip.json",
            "report.json",
            "anchors/local_clouds/visible.npz",
            *anchors,
        }
    record = read_record(prepared / "one_000007")
    # 7 frames, of which 5 spread evenly are the target.
    assert record["frames"] == [f"images/{i:06d}.png" for i in (7, 9, 10, 11, 13)]
    assert record["history"] == [f"images/{i:06d}.png" for i in (8, 12)]


def test_anchors_show_what_the_target_shows_where_they_see_it(prepared):
    clip = prepared / "one_000000"
    target, anchors = read_target(clip), read_anchors(clip, "local_clouds")
    assert anchors.video.shape == (4, 5, 3, 32, 64)
    assert anchors.visible[0].float().mean() > 0.5
    error = (anchors.video[0] - target).abs().mean(dim=1)[anchors.visible[0]]
    assert error.mean() < 0.06


def test_poses_tell_where_the_target_stands_seen_from_the_memory(prepared):
    clip = prepared / "one_000000"
    poses = read_cameras(clip)
    assert alike(poses.target2first[0], torch.eye(4))
    c2w = poses.cameras.c2w
    torch.testing.assert_close(poses.target2first, inverse_rigid(c2w[:1]) @ c2w)
    # Slot 0 is the first frame's own memory in every chunk.
    torch.testing.assert_close(poses.target2source["local_clouds"][0], poses.target2first)
    assert poses.unit == pytest.approx(4.0, rel=0.3)  # the room's far wall


def test_memories_are_drawn_at_random_but_the_same_for_the_same_clip(prepared, rooms, tmp_path):
    main(words(rooms, tmp_path / "again"))
    assert_made_alike(tmp_path / "again", prepared)
    drawn = {
        tuple(pick["memory"] for pick in chunk["picks"])
        for path in sorted(prepared.glob("*/report.json"))
        for chunk in json.loads(path.read_text())["local_clouds"]
    }
    # Memory 2 is the first frame's own; the two others come in either order.
    assert drawn == {(2, 0, 1), (2, 1, 0)}


def test_a_second_run_makes_only_what_is_missing(copy, rooms, tmp_path, capsys):
    before = shutil.copytree(copy, tmp_path / "before")
    shutil.rmtree(copy / "one_000007")
    times = {path: path.stat().st_mtime_ns for path in copy.glob("*_000000/*")}
    main(words(rooms, copy))
    assert "1 made, 2 existed, 0 failed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in copy.glob("*_000000/*")} == times
    assert_made_alike(copy, before)


@pytest.mark.parametrize(
    "change, message",
    [
        (["fps=9"], "fps: 8 there, 9 now"),
        (["retrieval.choose=far"], "retrieval.choose: 'random_in_view' there, 'far' now"),
        (["caption=text", "caption.text=x"], "caption.text: 'not stated' there, 'x' now"),
        (["memory.depth_edge=0.1"], "memory.depth_edge: 0.04 there, 0.1 now"),
    ],
)
def test_a_clip_made_otherwise_is_refused_with_what_differs(copy, rooms, change, message):
    before = contents(copy)
    with pytest.raises(
        FingerprintError, match=f"one_000000 .*give another output=(.|\n)*{message}"
    ):
        main(words(rooms, copy, *change))
    assert contents(copy) == before


def test_another_recording_of_the_same_name_is_noticed(copy, tmp_path):
    write_room(tmp_path / "rooms" / "one", offset=0.1)
    with pytest.raises(FingerprintError, match="recording: "):
        main(words(tmp_path / "rooms", copy))


def test_killed_in_the_middle_and_run_again_the_files_are_the_same(prepared, rooms, tmp_path):
    assert run("-c", KILLED, *words(rooms, tmp_path / "out")).returncode == -9
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert "one_000000" in left and "one_000007" not in left
    assert any(name.startswith(".partial-") for name in left)
    main(words(rooms, tmp_path / "out"))
    assert_made_alike(tmp_path / "out", prepared)


def test_two_processes_make_the_same_files_as_one(prepared, rooms, tmp_path):
    done = run(*TWO, "training.prepare_clips", *words(rooms, tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 made, 0 existed, 0 failed" in done.stdout and "in 2 process(es)" in done.stdout
    assert_made_alike(tmp_path / "out", prepared)


def test_a_bad_recording_fails_alone_and_is_named(prepared, rooms, tmp_path, capsys):
    write_room(tmp_path / "rooms" / "no_caption", count=7, caption=None)
    write_room(tmp_path / "rooms" / "short", count=6)
    broken = write_room(tmp_path / "rooms" / "broken", count=7)
    (broken / "images" / "000003.png").write_bytes(b"no image")
    shutil.copytree(rooms / "two", tmp_path / "rooms" / "two")
    with pytest.raises(SystemExit):
        main(words(tmp_path / "rooms", tmp_path / "out"))
    said = capsys.readouterr().out
    assert "2 made, 0 existed, 2 failed" in said
    assert (tmp_path / "out" / "no_caption_000000").is_dir()
    assert "failed: short: a stretch of 7 frames" in said
    assert "failed: broken" in said and "000003.png" in said
    alone, beside = tmp_path / "out" / "two_000000", prepared / "two_000000"
    shutil.copy(beside / "clip.json", alone / "clip.json")  # it says where the recording lies
    assert_made_alike(alone, beside)
    assert not list((tmp_path / "out").glob(".partial-*"))


def test_a_damaged_clip_is_named_with_what_to_do(copy, rooms, capsys):
    (copy / "one_000000" / "clip.json").write_text("{")
    with pytest.raises(SystemExit):
        main(words(rooms, copy))
    assert "clip.json cannot be read" in (said := capsys.readouterr().out)
    assert f"remove {copy / 'one_000000'}" in said


def test_a_full_disk_ends_the_run_and_leaves_no_half_clip(rooms, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        main(words(rooms, tmp_path / "out"))
    # Not even the folder, which this run had made.
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "word, message",
    [
        ("frames=6", "frames=6 do not fit"),
        ("size=[30,64]", "divisible by 16"),
        ("memories=[global]", "memories=.*known: local_clouds"),
        ("memories=[]", "memories="),
        ("memory.path=x", "memory.path is not used"),
        ("source=nowhere", "nowhere: no such file"),
        ("caption=text", "caption.text"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(rooms, tmp_path, word, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([*words(rooms, tmp_path / "out"), word])
    assert not (tmp_path / "out").exists()


def test_a_long_gap_and_a_recording_made_on_the_spot(tmp_path):
    source = "procedural:seed=1,frames=12,size=32x64"
    gap = ["split=later", "split.history=0.5", "caption=text", "caption.text=a room"]
    main([f"source={source}", f"output={tmp_path / 'out'}", *PREPARE, *gap])
    (clip,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    record = read_record(clip)
    assert record["history"] == [f"{i:06d}" for i in range(6)]
    assert record["frames"] == ["000006", "000007", "000008", "000010", "000011"]
    assert record["source"] == "procedural:seed=1"
    assert prepare_clips.DEFAULT.endswith("prepare_tiny.yaml")


def test_a_recording_without_a_caption_has_the_empty_prompt_and_is_told_first(tmp_path, capsys):
    write_room(tmp_path / "rooms" / "silent", count=7, caption=None)
    write_room(tmp_path / "rooms" / "told", count=7)
    words_now = words(tmp_path / "rooms", tmp_path / "out")
    main(words_now)
    said = capsys.readouterr().out
    assert "1 of 2 recording(s) have no caption.txt" in said and "empty prompt: silent;" in said
    assert said.index("empty prompt") < said.index("2 made")
    silent, told = (tmp_path / "out" / f"{name}_000000" for name in ("silent", "told"))
    assert (read_caption(silent), read_caption(told)) == ("", "a room")
    assert "caption" not in read_record(told)["made"]
    # A caption that was written since is not passed over, and one that is lost is found.
    (tmp_path / "rooms" / "silent" / "caption.txt").write_text("a room")
    with pytest.raises(FingerprintError, match="caption: '' there, 'not stated' now"):
        main(words_now)
    (told / "captions" / "caption.txt").write_text("")
    with pytest.raises(BadClip, match="caption.txt is empty"):
        read_caption(told)


def test_a_recording_without_depth_is_told_before_anything_is_rendered(tmp_path, capsys):
    room = write_room(tmp_path / "rooms" / "flat", count=7)
    listed = json.loads((room / "transforms.json").read_text())
    for frame in listed["frames"]:
        del frame["depth_file_path"]
    (room / "transforms.json").write_text(json.dumps(listed))
    write_room(tmp_path / "rooms" / "deep", count=7)
    with pytest.raises(SystemExit):
        main(words(tmp_path / "rooms", tmp_path / "out"))
    said = capsys.readouterr().out
    first = said.index("cannot be prepared: flat: ")
    assert "holds no depth; perception=plane_sweep" in said[first:]
    assert first < said.index("1 made, 0 existed, 1 failed")


def test_another_recording_of_the_same_name_and_cameras_is_noticed(copy, rooms, tmp_path):
    other = shutil.copytree(rooms, tmp_path / "rooms")
    # The same content elsewhere is the same recording, whatever is captioned now.
    main(words(other, copy))
    image = other / "one" / "images" / "000003.png"
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    with pytest.raises(FingerprintError, match="one_000000 .*\n *content: '.*' there, '.*' now"):
        main(words(other, copy))
    # An earlier version did not state it.
    for record in copy.glob("*/clip.json"):
        stated = json.loads(record.read_text())
        del stated["made"]["content"], stated["sum"]
        record.write_text(json.dumps(stated))
    main(words(other, copy))
