import json

from anchorweave.datasets.layout import CAMERAS, EMPTY_CAPTION, LATENTS, RECORD
from tests.benchmarks.training import write_clips
from training.draws.noise import DrawConfig
from training.estimates.missing import first_clip, missing_files
from training.estimates.run_shapes import TINY_CLIPS
from training.options.networks import NetworkConfig
from training.options.training import DataConfig, TrainConfig, ValidationConfig


def test_what_a_model_folder_lacks_is_named(tmp_path):
    def missing(**changes):
        network = NetworkConfig(path=str(tmp_path / "model"))
        return missing_files(TrainConfig(model=network, **changes))

    assert any("no such model" in line for line in missing())
    folder = tmp_path / "model" / "transformer"
    folder.mkdir(parents=True)
    assert any("model_index.json" in line for line in missing())
    (folder / "config.json").write_text(json.dumps({"num_layers": 1}))
    assert any("no .safetensors" in line for line in missing())
    shards = {"a": "one.safetensors", "b": "two.safetensors"}
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    (folder / "one.safetensors").touch()
    lines = [line for line in missing() if "safetensors" in line]
    assert lines == [f"{folder / 'two.safetensors'}: missing"]
    assert not any("vae" in line for line in missing())
    assert any("vae" in line for line in missing(validation=ValidationConfig(videos=1)))


def test_a_missing_controller_is_named(tmp_path):
    network = NetworkConfig(controller=str(tmp_path / "step-8500.pt"))
    lines = missing_files(TrainConfig(model=network))
    assert any("step-8500.pt" in line for line in lines)


def test_a_missing_reference_network_is_named(tmp_path):
    gone = {"references": str(tmp_path / "references_ema")}
    for references, missing in (({"new_references": "tokens"}, False), (gone, True)):
        lines = missing_files(TrainConfig(model=NetworkConfig(**references)))
        assert any("references_ema: no such reference network" in line for line in lines) == missing


def test_clips_are_counted_and_one_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / RECORD).write_text("{}")
    (tmp_path / "clips" / "b" / CAMERAS).touch()
    data = DataConfig(str(tmp_path / "clips"))
    lines = missing_files(TrainConfig(data=data))
    assert any(line.startswith(f"{tmp_path}/clips/a/{LATENTS} and 1 more") for line in lines)
    assert any(line.startswith(f"{tmp_path}/clips/a/{CAMERAS}: ") for line in lines)
    assert any(EMPTY_CAPTION in line for line in lines)
    without = TrainConfig(data=data, draw=DrawConfig(caption_dropout=0.0))
    assert not any(EMPTY_CAPTION in line for line in missing_files(without))


def test_the_first_readable_clip_gives_the_shape(tmp_path):
    write_clips(tmp_path / "clips", TINY_CLIPS, 16, 64, 3)
    config = TrainConfig(data=DataConfig(str(tmp_path / "clips")))
    assert missing_files(config) == []
    (tmp_path / "clips" / "clip_0000" / LATENTS).write_bytes(b"cut")
    clip, count = first_clip(config)
    assert clip.name.endswith("clip_0001") and count == 3
    assert first_clip(TrainConfig(data=DataConfig(str(tmp_path / "nowhere")))) is None
