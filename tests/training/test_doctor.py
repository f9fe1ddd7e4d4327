import json
import shutil

import pytest

from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import LATENTS
from anchorweave.memory import Bank
from tests.datasets.small_clips import write_clip
from tests.rooms import walk
from training.doctor import COMMAND, main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate("abc"):
        write_clip(root, name, seed)
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def test_a_good_data_set_has_an_empty_quarantine(root, capsys):
    main([f"data={root}"])
    said = capsys.readouterr().out
    assert "3 of 3 clips are good" in said and "3 with latents (t, C, h, w) (2, 4, 4, 8)" in said
    assert "anchors of local_clouds cover 50.0% to 50.0%" in said
    assert json.loads((root / "quarantine.json").read_text()) == {}


def test_bad_clips_are_named_and_training_leaves_them_out_until_they_are_mended(root, capsys):
    latents = (root / "b" / LATENTS).read_bytes()
    (root / "b" / LATENTS).write_bytes(latents[:100])
    main([f"data={root}"])
    said = capsys.readouterr().out
    assert "bad: b: latents.safetensors cannot be read" in said and "2 of 3 clips are good" in said
    clips = LatentClips(root)
    assert [clip.name for clip in clips.clips] == ["a", "c"]
    assert "latents.safetensors cannot be read" in clips.quarantined["b"]
    (root / "b" / LATENTS).write_bytes(latents)
    main([f"data={root}"])
    assert len(LatentClips(root)) == 3


def test_a_data_set_without_a_good_clip_is_an_error(root, capsys):
    with pytest.raises(SystemExit, match="0 of 3 clips can be used for training"):
        main([f"data={root}", "min_coverage=0.9"])
    assert capsys.readouterr().out.count("see 50.00% of the target") == 3
    with pytest.raises(ValueError, match="0 clips, because all 3 are in quarantine"):
        LatentClips(root)


def test_what_is_missing_beside_the_clips_is_told(root, tmp_path, capsys):
    (root / "empty_caption.safetensors").unlink()
    main([f"data={root}"])
    assert "empty prompt, for caption dropout: empty_caption.safetensors is missing" in (
        capsys.readouterr().out
    )
    write_clip(tmp_path / "pixels", "a", encoded=False)
    main([f"data={tmp_path / 'pixels'}"])
    said = capsys.readouterr().out
    assert "1 with no latents yet: run scripts/precompute.sh" in said and "empty prompt" not in said
    with pytest.raises(ValueError, match="0 clips; looked for folders with clip.json"):
        main([f"data={tmp_path}"])


@pytest.fixture
def bank(tmp_path):
    Bank(tmp_path / "bank").append(walk(4))
    return tmp_path / "bank"


def test_a_good_memory_bank_is_said_to_be_good_and_left_as_it_is(bank, capsys):
    before = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    main([f"data={bank}"])
    assert "4 frames, 0 bad image(s)" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()} == before


def test_flipped_and_swapped_pictures_of_a_memory_bank_are_found(bank, capsys):
    flipped = bank / "depth" / "000000.png"
    stored = bytearray(flipped.read_bytes())
    stored[-20] ^= 1
    flipped.write_bytes(stored)
    one, other = (bank / "images" / f"00000{i}.png" for i in (1, 3))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second), other.write_bytes(first)
    with pytest.raises(SystemExit, match="3 corrupt image") as ended:
        COMMAND.run([str(bank)])
    # A text ends a process with 1.
    assert isinstance(ended.value.code, str)
    bad = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bad: ")]
    assert len(bad) == 3
    for path in (flipped, one, other):
        assert sum(f"{path} is not the picture that was remembered" in line for line in bad) == 1


def test_a_memory_bank_of_an_earlier_version_is_said_to_keep_no_sums(bank, capsys):
    file = bank / "transforms.json"
    meta = json.loads(file.read_text())
    for entry in meta["frames"][:3]:
        del entry["sums"]
    file.write_text(json.dumps(meta))
    main([f"data={bank}"])
    assert "3 of them have no checksums" in capsys.readouterr().out


def test_a_list_that_was_changed_is_one_message(bank, capsys):
    file = bank / "transforms.json"
    assert '"source": "room 0"' in file.read_text()
    file.write_text(file.read_text().replace('"source": "room 0"', '"source": "room 4"'))
    with pytest.raises(SystemExit) as ended:
        COMMAND.run([str(bank)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "frame 0 is not listed as it was written" in said
    assert "Traceback" not in said
