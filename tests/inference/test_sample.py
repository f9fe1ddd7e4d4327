"""The main job from a recording to its reports, with networks of a few thousand parameters."""

import json
import shutil

import pytest
import torch

from anchorweave.locks import FolderInUseError, in_use
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.video import read_video
from inference import sample
from inference.sample import SampleConfig, main
from tests.rooms import look, view_room

SMALL = [
    "split.step=null",
    "frames=5",
    "size=[32,64]",
    "sampling.steps=2",
    "sampling.guidance=1",
    "retrieval.chunk=2",
]


def recording(path, count=10):
    yaws = torch.linspace(-0.4, 0.4, count)
    positions = [[0.1 * i - 0.5, 0.0, -1.0] for i in range(count)]
    write_recording(view_room(look(positions, yaws, size=(32, 64), focal=40.0)), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    recording(folder / "room")
    words = [f"source={folder / 'room'}", f"output={folder / 'out'}", *SMALL]
    main(words)
    return folder / "out", words


def test_everything_is_written(run):
    output, _ = run
    names = {path.name for path in output.iterdir()}
    assert names == {
        "generated.mp4",
        "without_memory.mp4",
        "anchors.mp4",
        "anchors.png",
        "montage.mp4",
        "montage.png",
        "selection.json",
        "metrics.json",
        "config.yaml",
        "memory",
    }
    assert len(read_video(output / "generated.mp4")) == 5


def test_metrics_say_how_good_and_with_which_weights(run):
    metrics = json.loads((run[0] / "metrics.json").read_text())
    assert metrics["weights"].startswith("weights: trained: anchorweave-tiny")
    for name in ("generated", "without_memory"):
        assert metrics[name]["psnr_all"] > 0 and -1 <= metrics[name]["ssim_all"] <= 1
        # Over other pixels, so another number.
        assert metrics[name]["psnr_visible"] != metrics[name]["psnr_all"]
    assert metrics["generated"] != metrics["without_memory"]
    slots, composite = metrics["anchors"]["slots"], metrics["anchors"]["composite"]
    assert len(slots) == 4
    assert composite["coverage"] >= max(slot["coverage"] for slot in slots)
    # The room's colours are smooth: what memory shows from nearby is close to the truth.
    assert composite["psnr_visible"] > 20 and composite["coverage"] > 0.5


def test_selection_names_memory_frame_gain_and_reason(run):
    chunks = json.loads((run[0] / "selection.json").read_text())
    assert [(c["start"], c["stop"]) for c in chunks] == [(0, 3), (3, 5)]
    for chunk in chunks:
        assert len(chunk["target_frames"]) == chunk["stop"] - chunk["start"]
        assert chunk["stopped"] and chunk["picks"][0]["forced"]
        shares = [pick["coarse_coverage"] for pick in chunk["picks"]]
        assert shares == sorted(shares)
        total = sum(pick["coarse_gain"] for pick in chunk["picks"])
        assert total == pytest.approx(shares[-1])


def everything(output):
    return {p.relative_to(output): p.read_bytes() for p in output.rglob("*") if p.is_file()}


@pytest.mark.parametrize("ends_in", ["measure", "write_json", "write_pictures", "contact_sheet"])
def test_a_run_that_ends_before_it_is_done_leaves_all_of_the_one_before(
    run, tmp_path, monkeypatch, ends_in
):
    """Wherever it ends: other seeds would leave another video, config and metrics."""
    output = tmp_path / "out"
    shutil.copytree(run[0], output)
    before = everything(output)

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(sample, ends_in, full)
    words = [*run[1], f"output={output}", "seed=1", "sampling.steps=1"]
    with pytest.raises(OSError, match="disk full"):
        main(words)
    assert everything(output) == before


def test_what_a_person_put_into_the_memory_is_not_taken_away(run, tmp_path, monkeypatch):
    """Also where it comes while the run goes on."""
    output = tmp_path / "out"
    shutil.copytree(run[0], output)
    measured = sample.measure

    def meanwhile(*args):
        (output / "memory" / "notes.txt").write_text("mine")
        return measured(*args)

    monkeypatch.setattr(sample, "measure", meanwhile)
    before = everything(output)
    with pytest.raises(ValueError, match="holds notes.txt besides"):
        main([*run[1], f"output={output}", "sampling.steps=1"])
    (output / "memory" / "notes.txt").unlink()
    assert everything(output) == before


def test_without_memory_is_of_the_first_frame_and_prompt_alone(run, tmp_path):
    """Other memories change the generated video, and not the one without."""
    words = [*run[1], f"output={tmp_path / 'out'}", "retrieval.anchors=1", "retrieval.forced=none"]
    main(words)
    videos = {
        name: [read_video(one / f"{name}.mp4") for one in (run[0], tmp_path / "out")]
        for name in ("generated", "without_memory")
    }
    apart = {
        name: (one.float() - other.float()).abs().mean() for name, (one, other) in videos.items()
    }
    # Both are encoded again, where a rounding may move a pixel by a step or two.
    assert apart["without_memory"] < 0.5 < 1 < apart["generated"]


def test_large_videos_are_generated_once_unless_asked(run, tmp_path):
    assert SampleConfig(frames=25, size=(128, 192)).shows_without
    assert not SampleConfig(frames=49, size=(480, 720)).shows_without
    assert SampleConfig(frames=49, size=(480, 720), without_memory=True).shows_without
    output = tmp_path / "out"
    shutil.copytree(run[0], output)
    main([*run[1], f"output={output}", "without_memory=false", "sampling.steps=1"])
    # Nor does that of the run before stay.
    assert not (output / "without_memory.mp4").exists()
    assert "without_memory" not in json.loads((output / "metrics.json").read_text())


def test_running_again_gives_the_same_and_does_not_pile_up_memories(run):
    output, words = run
    before = json.loads((output / "metrics.json").read_text())
    main(words)
    after = json.loads((output / "metrics.json").read_text())
    assert {**before, "seconds": 0} == {**after, "seconds": 0}
    # 7 frames of the window, of which 5 are the target; its first one is seen as well.
    assert len(list((output / "memory" / "images").iterdir())) == 3


def test_no_overlap_is_reported_and_the_run_goes_on(tmp_path, capsys):
    """History looks the other way: no anchor shows anything but the first frame's own."""
    ahead = [[0.1 * i, 0.0, -1.0] for i in range(6)]
    cameras = look(ahead + ahead, [3.14] * 6 + [0.0] * 6, size=(32, 64), focal=40.0)
    write_recording(view_room(cameras), tmp_path / "room")
    main(
        [
            f"source={tmp_path / 'room'}",
            f"output={tmp_path / 'out'}",
            "split=later",
            "split.history=0.5",
            "retrieval.forced=none",
            *SMALL,
        ]
    )
    chunks = json.loads((tmp_path / "out" / "selection.json").read_text())
    # The first target frame itself is remembered, and is all that overlaps.
    assert all(chunk["pool"] == 1 for chunk in chunks)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["anchors"]["slots"][3] == {"coverage": 0.0, "psnr_visible": None}


@pytest.mark.parametrize(
    "words, message",
    [
        (["frames=6"], "6 frames do not fit"),
        (["size=[30,64]"], "divisible by 16; the nearest such size is 32x64"),
        (["split.window=99"], "window of 99 frames"),
        (["model.path=pretrained/none"], "no model at model.path"),
        (["model.offload=model"], "model.offload=model needs a CUDA GPU"),
        (["retrieval.anchors=0"], "anchors"),
        (["nothing=1"], "nothing"),
        (["sampling.steps=0"], "sampling.steps=0: must be at least 1"),
        (["frames=1"], "frames=1: must be at least 2"),
        (["fps=0"], "fps=0"),
        (["model.device=gpu"], "none of auto, cpu, cuda"),
        (["model.controller=somewhere"], "no controller at somewhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, words, message):
    if "offload" in words[0] and torch.cuda.is_available():
        pytest.skip("this machine has a GPU, where offloading works")
    source = recording(tmp_path / "room")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([f"source={source}", f"output={tmp_path / 'out'}", *SMALL, *words])
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_rollout_in_it_is_left_alone(tmp_path):
    source = recording(tmp_path / "room")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rollout.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a rollout"):
        main([f"source={source}", f"output={tmp_path / 'out'}", *SMALL])


def test_a_memory_that_may_hold_the_target_is_refused(run):
    output, words = run
    with pytest.raises(ValueError, match="may include the target"):
        main([*words, f"memory.path={output / 'memory'}", f"output={output}2"])


def test_the_prompt_is_the_recordings_caption_unless_given(tmp_path, capsys):
    source = recording(tmp_path / "room")
    words = [f"source={source}", f"output={tmp_path / 'out'}", *SMALL, "sampling.steps=1"]
    main(words)
    assert "prompt: none" in capsys.readouterr().out
    (source / "caption.txt").write_text("a small room\n")
    main(words)
    assert "a small room" in capsys.readouterr().out
    main([*words, "sampling.prompt=a kitchen: sunny # 1"])
    assert "a kitchen: sunny # 1" in capsys.readouterr().out


def without_depth(room):
    listed = json.loads((room / "transforms.json").read_text())
    for frame in listed["frames"]:
        del frame["depth_file_path"]
    (room / "transforms.json").write_text(json.dumps(listed))


def test_missing_depth_and_captions_are_met_before_a_pipeline_is_loaded(
    tmp_path, monkeypatch, capsys
):
    def load(config):
        raise AssertionError("the pipeline is loaded")

    monkeypatch.setattr(sample, "load_pipeline", load)
    room = recording(tmp_path / "room")
    words = [f"source={room}", f"output={tmp_path / 'out'}", *SMALL]
    with pytest.raises(AssertionError, match="is loaded"):
        main(words)
    assert "prompt: none (set sampling.prompt=" in capsys.readouterr().out
    without_depth(room)
    with pytest.raises(ValueError, match="holds no depth; perception=plane_sweep"):
        main(words)
    assert not (tmp_path / "out").exists()


def test_an_output_that_another_run_works_in_is_left_alone(run):
    output, words = run
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    for folder in (output, output / "memory"):
        with in_use(folder), pytest.raises(FolderInUseError, match=f"{folder} is in use by"):
            main(words)
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()} == before
