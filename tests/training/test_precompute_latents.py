"""Prepared clips to tensors: the same however often, by however many processes, after any kill."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open

from anchorweave.anchors import Retrieved, references_for
from anchorweave.datasets.encoded_clip import read_made, read_tensors, write_tensors
from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import LATENTS
from anchorweave.datasets.prepared_clip_reading import read_anchors, read_cameras, read_target
from anchorweave.models.backbones import codec_of
from anchorweave.models.codec.cogvideox import CogVideoXCodec
from anchorweave.models.codec.t5_text import T5Text
from anchorweave.models.latents import encode_retrieved
from anchorweave.models.small.tiny import TEXT_TOKENS, tiny_components, write_tiny
from anchorweave.models.weaving.visible_tokens import seen_by
from tests.training import runs
from tests.training.small_data import PREPARE, TWO, assert_made_alike, run, write_room
from training.precompute_latents import main
from training.prepare_clips import main as prepare
from training.preparing.encoding import is_out_of_memory, smaller_tiles

KILLED = """
import os, signal, sys
from pathlib import Path
from training.precompute_latents import main
write = Path.write_bytes
def killing(path, data):
    if path.name.endswith("latents.safetensors") and "000007" in str(path):
        write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, data)
Path.write_bytes = killing
main(sys.argv[1:])
"""


one_thread = runs.one_thread


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    write_room(folder / "one")
    write_room(folder / "two", count=7, offset=0.3, caption="a red room")
    return folder


@pytest.fixture(scope="module")
def prepared(rooms, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared")
    prepare([f"source={rooms}", f"output={output}", *PREPARE])
    return output


@pytest.fixture(scope="module")
def encoded(prepared, tmp_path_factory):
    output = shutil.copytree(prepared, tmp_path_factory.mktemp("encoded") / "data")
    main([f"data={output}"])
    return output


@pytest.fixture
def copy(encoded, tmp_path):
    return shutil.copytree(encoded, tmp_path / "copy")


@torch.no_grad()
def test_latents_are_what_the_pipeline_would_encode(encoded):
    """The pixels of a clip, encoded as sampling encodes them, up to the storage's rounding."""
    clip = LatentClips(encoded)[2]
    parts, folder = tiny_components(frames=5, size=(32, 64)), encoded / "two_000000"
    vae, target = parts["vae"], read_target(folder)
    close = {"atol": 2e-3, "rtol": 2e-3}
    torch.testing.assert_close(clip.latents, codec_of(vae).encode(target[None])[0], **close)
    first = codec_of(vae).encode_first_frame(target[None, 0], frames=5)[0, :1]
    torch.testing.assert_close(clip.image_latents, first, **close)
    anchors = read_anchors(folder, "local_clouds")
    cameras = read_cameras(folder).cameras
    nothing = references_for(cameras, (), cameras[:0])
    known = Retrieved(anchors, nothing, clip.target2first, unit=1.0)
    joint = encode_retrieved(codec_of(vae), [known], patch_size=2, holes="filled")
    assert clip.holes == "filled" and not anchors.visible.all()
    torch.testing.assert_close(clip.anchor_latents, joint.latents[0], **close)
    assert torch.equal(clip.visible_tokens, joint.visible_tokens[0])
    assert clip.visible_tokens.any() and not clip.visible_tokens.all()
    # Shares of 2^k pixels, which half precision holds exactly from one half on.
    torch.testing.assert_close(clip.coverage, joint.coverage[0], atol=2**-12, rtol=0)
    assert torch.equal(seen_by(clip.coverage), clip.visible_tokens)
    for prompt, features in (
        ("a red room", clip.prompt_features),
        ("", LatentClips(encoded).empty_prompt()),
    ):
        truth = T5Text(parts["tokenizer"], parts["text_encoder"]).encode([prompt], TEXT_TOKENS)[0]
        torch.testing.assert_close(features, truth, **close)


def test_what_it_was_made_with_is_kept(encoded):
    made = read_made(encoded / "one_000000" / LATENTS)
    assert made["storage"] == "float16" and made["tile"] is None
    assert set(made) == {
        "code",
        "storage",
        "dtype",
        "vae",
        "prepared",
        "holes",
        "tile",
        "vae_content",
    }
    assert read_made(encoded / "two_000000" / "caption.safetensors")["caption"] == "a red room"


def test_a_second_run_makes_only_what_is_missing(copy, encoded, capsys):
    (copy / "one_000007" / LATENTS).unlink()
    (copy / "two_000000" / "caption.safetensors").unlink()
    main([f"data={copy}"])
    assert "2 made, 4 existed, 0 failed" in capsys.readouterr().out
    assert_made_alike(copy, encoded)


def test_killed_in_the_middle_and_run_again_the_files_are_the_same(prepared, encoded, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    assert run("-c", KILLED, f"data={data}").returncode == -9
    assert (data / "one_000000" / LATENTS).exists()
    assert not (data / "one_000007" / LATENTS).exists()
    assert list((data / "one_000007").glob(".partial-*"))
    main([f"data={data}"])
    assert_made_alike(data, encoded)


def test_two_processes_make_the_same_files_as_one(prepared, encoded, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    done = run(*TWO, "training.precompute_latents", f"data={data}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "6 made, 0 existed, 0 failed" in done.stdout and "in 2 process(es)" in done.stdout
    assert_made_alike(data, encoded)


@pytest.mark.parametrize(
    "file, change, message",
    [
        (
            "empty_caption.safetensors",
            ["storage=float32"],
            "storage: 'float16' there, 'float32' now",
        ),
        ("empty_caption.safetensors", ["model.dtype=bfloat16"], "dtype: 'float32' there"),
        ("caption.safetensors", "caption", "caption: 'a room' there, 'a green room' now"),
        ("latents.safetensors", "made", "prepared: "),
        ("latents.safetensors", ["holes=black"], "holes: 'filled' there, 'black' now"),
    ],
)
def test_tensors_made_otherwise_are_refused_with_what_differs(copy, file, change, message):
    words = []
    if change == "caption":
        (copy / "one_000000" / "captions" / "caption.txt").write_text("a green room")
    elif change == "made":
        record = copy / "one_000000" / "clip.json"
        values = json.loads(record.read_text().replace('"fps": 8', '"fps": 9'))
        del values["sum"]
        record.write_text(json.dumps(values))
    else:
        words = change
    with pytest.raises(
        FingerprintError, match=f"{file} (.|\n)*remove every {file}(.|\n)*{message}"
    ):
        main([f"data={copy}", *words])


def test_latents_from_before_there_was_a_choice_have_black_holes(prepared, tmp_path, capsys):
    data = shutil.copytree(prepared, tmp_path / "data")
    main([f"data={data}", "holes=black"])
    for path in data.glob(f"*/{LATENTS}"):
        with safe_open(path, "pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        write_tensors(path, tensors, {k: v for k, v in read_made(path).items() if k != "holes"})
    assert LatentClips(data)[0].holes == "black"
    capsys.readouterr()
    main([f"data={data}", "holes=black"])
    assert "0 made, 6 existed" in capsys.readouterr().out
    with pytest.raises(FingerprintError, match="holes: 'black' there, 'filled' now"):
        main([f"data={data}"])


def test_other_weights_are_noticed(copy, tmp_path):
    other = write_tiny(tmp_path / "other", seed=1, frames=5, size=(32, 64))
    with pytest.raises(FingerprintError, match="text_encoder: "):
        main([f"data={copy}", f"model.path={other}"])


def test_a_bad_clip_fails_alone_and_is_named(prepared, encoded, tmp_path, capsys):
    data = shutil.copytree(prepared, tmp_path / "data")
    (data / "one_000000" / "video.mp4").write_bytes(b"no video")
    (data / "one_000007" / "captions" / "caption.txt").unlink()
    (data / "two_000000" / LATENTS).write_bytes(b"cut")
    with pytest.raises(SystemExit):
        main([f"data={data}"])
    said = capsys.readouterr().out
    assert "3 made, 0 existed, 3 failed" in said
    assert "failed: videos of one_000000: video.mp4 has changed since it was prepared" in said
    assert "failed: caption of one_000007: captions/caption.txt is missing" in said
    assert "failed: videos of two_000000: latents.safetensors cannot be read" in said
    assert "remove the file to have it made again" in said


def test_no_clips_says_why(tmp_path):
    with pytest.raises(ValueError, match="0 clips; looked for"):
        main([f"data={tmp_path}"])


def memory_for_tiles_up_to(side, monkeypatch, error=torch.OutOfMemoryError):
    """From now on the VAE has memory for tiles of `side` pixels only."""
    encode = CogVideoXCodec.encode

    def scarce(codec, video):
        vae = codec.vae
        if not vae.use_tiling or vae.tile_sample_min_height > side:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encode(codec, video)

    monkeypatch.setattr(CogVideoXCodec, "encode", scarce)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_lowers_the_tile_and_says_so(prepared, tmp_path, monkeypatch, capsys, error):
    data = shutil.copytree(prepared, tmp_path / "data")
    memory_for_tiles_up_to(32, monkeypatch, error)
    main([f"data={data}"])
    said = capsys.readouterr().out
    assert "one_000000: out of memory (CUDA out of memory" in said
    assert "retrying with tiles of 32 pixels. Start with them by setting vae_tile=32" in said
    assert "6 made, 0 existed, 0 failed" in said
    for clip in ("one_000000", "one_000007", "two_000000"):
        assert read_made(data / clip / LATENTS)["tile"] == 32
    # Which tile it took is told, but is no reason to make it again.
    monkeypatch.undo()
    main([f"data={data}"])


def test_a_clip_that_never_fits_is_given_up_and_named(prepared, tmp_path, monkeypatch, capsys):
    data = shutil.copytree(prepared, tmp_path / "data")
    memory_for_tiles_up_to(0, monkeypatch)
    with pytest.raises(SystemExit):
        main([f"data={data}"])
    said = capsys.readouterr().out
    assert "failed: videos of one_000000: does not fit in memory, even with tiles of 32" in said


def test_only_a_lack_of_memory_is_answered_with_smaller_tiles(prepared, tmp_path, monkeypatch):
    data = shutil.copytree(prepared, tmp_path / "data")

    def broken(codec, video):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(CogVideoXCodec, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        main([f"data={data}"])
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))


def test_tiles_halve_down_to_the_smallest():
    assert list(smaller_tiles(None, 720, 32)) == [None, 352, 160, 64, 32]
    assert list(smaller_tiles(None, 64, 32)) == [None, 32]
    assert list(smaller_tiles(64, 720, 32)) == [64, 32]
    assert list(smaller_tiles(32, 720, 32)) == [32]
    assert list(smaller_tiles(None, 32, 32)) == [None]


def test_latents_of_one_run_may_be_stored_in_full(prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    main([f"data={data}", "storage=float32"])
    stored = read_tensors(data / "one_000000" / LATENTS, ("target",))["target"]
    assert not torch.equal(stored, stored.half().float())
