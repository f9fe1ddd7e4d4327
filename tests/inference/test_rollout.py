import json
from dataclasses import replace

import pytest
import torch

import inference.rollout as rollout
import inference.runs.generator as generator
from anchorweave.memory import Bank
from anchorweave.perception import PlaneSweepConfig
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.video import read_video
from tests.alike import alike, alike_pictures
from tests.rooms import look, view_room


class StopError(Exception):
    """Stands for whatever ends a run."""


def true_depth(kind, config):
    """Perception that knows the room the networks are made to paint."""
    return lambda clip, known=None: replace(clip, depth=view_room(clip.cameras).depth)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A rollout whose networks are small; returns a function (extra words) -> output folder."""
    cameras = look([[0.0, 0.0, -1.0]] * 2, [0.0, 0.05], size=(32, 64), focal=40.0)
    write_recording(view_room(cameras), tmp_path / "room")
    (tmp_path / "room" / "caption.txt").write_text("a round room\n")
    monkeypatch.setattr(rollout, "make_perception", true_depth)

    def call(output, *words):
        rollout.main(
            [
                f"source={tmp_path / 'room'}",
                f"output={tmp_path / output}",
                "frames=5",
                "size=[32,64]",
                "sampling.steps=1",
                "sampling.guidance=1",
                "rollout.segments=3",
                "rollout.trajectory=there_and_back(dolly(distance=0.2))",
                *words,
            ]
        )
        return tmp_path / output

    call.folder = tmp_path
    return call


def test_a_rollout_may_start_every_segment_from_its_anchors(run):
    from_anchors = ["sampling.start=anchors", "sampling.start_share=0.5", "sampling.steps=2"]
    started = read_video(run("anchors", *from_anchors) / "rollout.mp4")
    assert len(started) == 13
    assert not alike(started, read_video(run("noise", "sampling.steps=2") / "rollout.mp4"))


def test_a_prompt_a_segment(run, monkeypatch, capsys):
    asked, make = [], generator.make_generator

    def making(pipe, config, prompt):
        made = make(pipe, config, prompt)
        return lambda *given: asked.append(prompt) or made(*given)

    monkeypatch.setattr(generator, "make_generator", making)
    run("prompts", "rollout.prompts=[a door, a bed, a lamp]")
    assert asked == ["a door", "a bed", "a lamp"]
    assert "prompts, one per segment: a door; a bed; a lamp" in capsys.readouterr().out
    asked.clear()
    run("one")
    assert asked == ["a round room"] * 3
    with pytest.raises(ValueError, match="lists 2 prompts for rollout.segments=3"):
        run("few", "rollout.prompts=[a door, a bed]")
    with pytest.raises(ValueError, match="rollout.prompts and sampling.prompt are both set"):
        run("both", "rollout.prompts=[a, b, c]", "sampling.prompt=d")


def test_a_rollout_writes_a_long_video_and_a_bank(run):
    output = run("out")
    assert len(read_video(output / "rollout.mp4")) == 13
    assert json.loads((output / "rollout.json").read_text())["prompt"] == "a round room"
    bank = Bank(output / "memory")
    assert len(bank) == 13 and bank.names[-1] == "segment 2, frame 4"
    # There and back: the last camera is the first one.
    torch.testing.assert_close(bank.cameras.c2w[-1], bank.cameras.c2w[0])
    assert (output / "rollout.png").exists()
    assert len(read_video(output / "segments" / "0002.mp4")) == 4
    chunks = json.loads((output / "segments" / "0002.json").read_text())
    assert chunks[0]["target_frames"][0] == "segment 1, frame 4"


def test_interrupted_it_continues_and_ends_the_same(run, monkeypatch):
    whole = run("whole")
    calls, append = [], Bank.append

    def stop_at_second_segment(bank, clip):
        calls.append(clip.names[0])
        if len(calls) == 3:
            raise StopError
        append(bank, clip)

    monkeypatch.setattr(Bank, "append", stop_at_second_segment)
    with pytest.raises(StopError):
        run("cut")
    monkeypatch.setattr(Bank, "append", append)
    assert len(Bank(whole.parent / "cut" / "memory")) == 5
    cut = run("cut")
    a, b = Bank(whole / "memory"), Bank(cut / "memory")
    assert len(a) == len(b) == 13
    for i in range(13):
        # A level of 8 bits may be rounded the other way, and what follows is made of it.
        torch.testing.assert_close(a.frame(i), b.frame(i), atol=2.5 / 255, rtol=0)
        assert alike_pictures(a.depth(i), b.depth(i))


def test_pictures_are_of_one_run_whatever_ends_it(run, monkeypatch):
    """A write that fails between two files leaves both as they were."""
    output = run("out", "rollout.segments=1")
    pictures = [output / "rollout.mp4", output / "rollout.png"]
    for path in pictures:
        path.write_text("of the run before")

    def full(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(rollout, "contact_sheet", full)
        with pytest.raises(OSError, match="disk full"):
            run("out", "rollout.segments=1")
    assert [path.read_text() for path in pictures] == ["of the run before"] * 2
    run("out", "rollout.segments=1")
    assert len(read_video(output / "rollout.mp4")) == 5
    # Of a segment likewise; its video is not there before the choice of its memories is.
    write_json = rollout.write_json

    def full_segment(values, path):
        if path.name == "0000.json":
            raise OSError("disk full")
        write_json(values, path)

    monkeypatch.setattr(rollout, "write_json", full_segment)
    with pytest.raises(OSError, match="disk full"):
        run("cut", "rollout.segments=1")
    assert list((run.folder / "cut" / "segments").iterdir()) == []
    assert len(Bank(run.folder / "cut" / "memory")) == 1


def test_it_goes_on_from_the_memory_of_an_earlier_run(run):
    first = run("first", "rollout.segments=1")
    run("second", "rollout.segments=1", f"memory.path={first / 'memory'}")
    bank = Bank(first / "memory")
    assert len(bank) == 9
    assert bank.names[5] == "segment 0, frame 1"


def test_a_finished_rollout_stays_as_it_is_when_another_goes_on_from_its_memory(run):
    first = run("first", "rollout.segments=1")
    run("second", "rollout.segments=1", f"memory.path={first / 'memory'}")
    run("first", "rollout.segments=1")
    assert len(read_video(first / "rollout.mp4")) == 5
    assert len(Bank(first / "memory")) == 9


def test_a_rollout_whose_memory_another_run_took_over_is_refused(run, monkeypatch):
    append, calls = Bank.append, []

    def stop_at_second_segment(bank, clip):
        calls.append(clip)
        if len(calls) == 3:
            raise StopError
        append(bank, clip)

    monkeypatch.setattr(Bank, "append", stop_at_second_segment)
    with pytest.raises(StopError):
        run("first")
    monkeypatch.setattr(Bank, "append", append)
    memory = f"memory.path={run.folder / 'first' / 'memory'}"
    run("second", "rollout.segments=1", "rollout.trajectory=pan(degrees=20)", memory)
    with pytest.raises(ValueError, match="extended by another run"):
        run("first")


def test_a_typo_leaves_the_folder_free(run):
    with pytest.raises(ValueError, match="dolly"):
        run("out", "rollout.trajectory=doly(distance=0.2)")
    assert len(read_video(run("out", "rollout.segments=1") / "rollout.mp4")) == 5


def test_keyboard_words_may_be_longer_than_a_file_name(run):
    words = ", ".join(["move_left:1, move_right:1"] * 12)
    assert len(words) > 255
    output = run("out", "rollout.segments=1", f"rollout.trajectory={words}")
    assert len(read_video(output / "rollout.mp4")) == 5


def test_another_config_in_the_same_folder_is_refused(run):
    run("out", "rollout.segments=1")
    with pytest.raises(ValueError, match="another config: seed: 0 there, 4 now"):
        run("out", "rollout.segments=1", "seed=4")


def test_other_weights_do_not_go_on_with_it(run, monkeypatch):
    output = run("out", "rollout.segments=1")
    load = rollout.load_pipeline

    def others(config):
        pipe, weights = load(config)
        with torch.no_grad():
            pipe.transformer.proj_out.bias += 1
        return pipe, weights

    monkeypatch.setattr(rollout, "load_pipeline", others)
    with pytest.raises(ValueError, match="started with other networks.*weights.transformer"):
        run("out", "rollout.segments=1")
    # One that is too old to say goes on, and that is said.
    state = json.loads((output / "rollout.json").read_text())
    del state["made"]
    (output / "rollout.json").write_text(json.dumps(state))
    run("out", "rollout.segments=1")


def test_weights_that_are_no_numbers_make_no_frames(run, monkeypatch):
    load = rollout.load_pipeline

    def damaged(config):
        pipe, weights = load(config)
        with torch.no_grad():
            pipe.transformer.proj_out.bias[0] = float("nan")
        return pipe, weights

    monkeypatch.setattr(rollout, "load_pipeline", damaged)
    with pytest.raises(ValueError, match="not finite: the weights are damaged"):
        run("out", "rollout.segments=1")
    assert len(Bank(run.folder / "out" / "memory")) == 1


def test_a_users_folder_called_memory_is_left_alone(run):
    (run.folder / "out" / "memory").mkdir(parents=True)
    (run.folder / "out" / "memory" / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="diary.txt.*nothing in it is removed"):
        run("out", "rollout.segments=1")
    assert (run.folder / "out" / "memory" / "diary.txt").read_text() == "mine"


def test_a_camera_file_is_a_trajectory(run, tmp_path):
    lines = ["https://example.org/video"]
    for i in range(6):
        lines.append(f"{i * 33333} 0.9 1.6 0.5 0.5 0 0 1 0 0 {-0.02 * i} 0 1 0 0 0 0 1 0")
    (tmp_path / "path.txt").write_text("\n".join(lines) + "\n")
    output = run("out", "rollout.segments=1", f"rollout.trajectory={tmp_path / 'path.txt'}")
    cameras = Bank(output / "memory").cameras
    state = json.loads((output / "rollout.json").read_text())
    moved = (cameras.centres[-1] - cameras.centres[0]).tolist()
    assert moved == pytest.approx([0.1 * state["unit"], 0.0, 0.0], abs=1e-4)


def test_generated_frames_get_their_depth_from_the_plane_sweep(tmp_path, monkeypatch):
    """The same without a perception that knows the room, on networks that paint noise."""
    cameras = look([[0.0, 0.0, -1.0]], [0.0], size=(32, 64), focal=40.0)
    write_recording(view_room(cameras), tmp_path / "room")
    words = ["frames=5", "size=[32,64]", "sampling.steps=1", "sampling.guidance=1"]
    rollout.main(
        [
            f"source={tmp_path / 'room'}",
            f"output={tmp_path / 'out'}",
            "rollout.segments=1",
            "rollout.trajectory=orbit(degrees=10)",
            f"perception.plane_sweep.planes={PlaneSweepConfig().planes // 4}",
            *words,
        ]
    )
    bank = Bank(tmp_path / "out" / "memory")
    # Where memory sees a pixel its depth is kept, so most of the view next door is known.
    assert (bank.depth(1) > 0).float().mean() > 0.5


def test_turning_away_on_the_spot_is_survived_and_can_be_continued(tmp_path):
    """No parallax and nothing known: frames are remembered without depth, with a warning."""
    cameras = look([[0.0, 0.0, -1.0]], [0.0], size=(32, 64), focal=40.0)
    write_recording(view_room(cameras), tmp_path / "room")
    words = [
        f"source={tmp_path / 'room'}",
        "frames=5",
        "size=[32,64]",
        "sampling.steps=1",
        "sampling.guidance=1",
    ]
    first = [*words, f"output={tmp_path / 'out'}", "rollout.segments=2"]
    with pytest.warns(UserWarning, match="without new depth.*needs a translating camera"):
        rollout.main([*first, "rollout.trajectory=pan(degrees=240)"])
    bank = Bank(tmp_path / "out" / "memory")
    assert len(bank) == 9 and not bank.depth(8).any()
    state = json.loads((tmp_path / "out" / "rollout.json").read_text())
    further = [*words, f"output={tmp_path / 'further'}", f"memory.path={bank.path}"]
    rollout.main([*further, "rollout.segments=1", "rollout.trajectory=dolly(distance=0.1)"])
    assert len(Bank(bank.path)) == 13
    again = json.loads((tmp_path / "further" / "rollout.json").read_text())
    assert again["unit"] == pytest.approx(state["unit"], rel=0.2)
