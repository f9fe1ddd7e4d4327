import json
import shutil

import pytest

from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import LATENTS
from tests.datasets.small_clips import write_clip
from training.doctor import main


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
    assert "anchors of local_clouds see 50.0% to 50.0%" in said
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
    with pytest.raises(SystemExit, match="0 of 3 clips can be trained on"):
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
