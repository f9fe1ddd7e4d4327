import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from anchorweave.config import load_config, save_config
from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.models.backbones import family_of
from anchorweave.models.notes import weights_note
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.tiny_wan import tiny_wan_components
from anchorweave.models.small.vae import VAEConfig, small_vae
from anchorweave.pipelines import AnchorWeavePipeline
from anchorweave.pipelines.wan import AnchorWeaveWanPipeline
from training.engine.checkpoints import CONFIG, PROGRESS, write_manifest
from training.engine.finished import newest_weights
from training.make_model import (
    MakeModelConfig,
    WeavingConfig,
    main,
    read_parts,
    refuse_in_vain,
)
from training.options.training import TrainConfig
from training.train_vae import VAETrainConfig

CONFIGS = Path("configs/anchorweave_tiny")
SMALL = [
    "backbone.layers=2",
    "backbone.heads=2",
    "backbone.head_channels=16",
    "backbone.time_channels=16",
    "backbone.frames=9",
    "backbone.size=[32,48]",
    "weaving.layers=1",
    "weaving.heads=1",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An autoencoder with 4x in space, and text parts, as their trainings leave them."""
    root = tmp_path_factory.mktemp("trained")
    vae = small_vae(VAEConfig(channels=(8, 8, 16), latent_channels=4), (32, 48), seed=1)
    vae.register_to_config(scaling_factor=1.25)
    vae.save_pretrained(root / "vae")
    text = tiny_components(seed=2)
    for part in ("tokenizer", "text_encoder"):
        text[part].save_pretrained(root / "text" / part)
    return root


def words(trained, output, *more):
    return [
        f"output={output}",
        f"vae={trained / 'vae'}",
        f"text={trained / 'text'}",
        "note=null",
        "weaving.holes=black",
        *SMALL,
        *more,
    ]


def weights(folder, part):
    (file,) = Path(folder, part).glob("*.safetensors")
    return load_file(file)


def test_the_folder_opens_and_samples_and_its_sizes_follow_from_its_parts(trained, tmp_path):
    main(words(trained, tmp_path / "model", "note=trained in part"))
    pipe = AnchorWeavePipeline.from_pretrained(tmp_path / "model")
    config = pipe.transformer.config
    assert (config.in_channels, config.out_channels, config.text_embed_dim) == (8, 4, 64)
    assert (config.sample_height, config.sample_width, config.sample_frames) == (8, 12, 9)
    assert config.max_text_seq_length == 32 and pipe.vae.config.scaling_factor == 1.25
    assert pipe.controller.config.num_layers == 1
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    tokens = tiny_components(seed=2)["tokenizer"]
    assert pipe.tokenizer("a red kitchen").input_ids == tokens("a red kitchen").input_ids
    assert weights_note(tmp_path / "model") == "trained in part"
    pipe.set_progress_bar_config(disable=True)
    # Positions are rotary alone, so that it makes other lengths and sizes than its own.
    for frames, size in ((9, (32, 48)), (5, (24, 32))):
        given = {"num_frames": frames, "height": size[0], "width": size[1]}
        image = torch.rand(3, *size)
        video = pipe(image, "a room", **given, num_inference_steps=1, output_type="pt").frames[0]
        assert video.shape == (frames, 3, *size)


def test_in_half_precision_it_opens_in_one(trained, tmp_path, capsys):
    main(words(trained, tmp_path / "model", "dtype=float16"))
    said = capsys.readouterr()
    assert "vae: 0." in said.out and "MB in float16" in said.out and said.err == ""
    stored = weights(tmp_path / "model", "text_encoder") | weights(tmp_path / "model", "vae")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    pipe = AnchorWeavePipeline.from_pretrained(tmp_path / "model")
    networks = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    assert len(networks) == 4 and {part.dtype for part in networks} == {torch.float32}


def test_the_same_again_is_left_and_anything_else_is_refused(trained, tmp_path, capsys):
    model = tmp_path / "model"
    main(words(trained, model))
    written = (model / "made.json").stat().st_mtime_ns
    main(words(trained, model))
    assert "already exists" in capsys.readouterr().out
    assert (model / "made.json").stat().st_mtime_ns == written
    # As it was before there was a choice of holes.
    assert "weaving.holes" not in json.loads((model / "made.json").read_text())["options"]
    with pytest.raises(FingerprintError, match="weaving.holes: 'not stated' there, 'filled' now"):
        main(words(trained, model, "weaving.holes=filled"))
    with pytest.raises(FingerprintError, match="options.seed: 0 there, 1 now"):
        main(words(trained, model, "seed=1"))
    other = tmp_path / "vae"
    small_vae(VAEConfig(channels=(8, 8, 16), latent_channels=4), (32, 48), 9).save_pretrained(other)
    with pytest.raises(FingerprintError, match="weights.vae"):
        main(words(trained, model, f"vae={other}"))
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine exists"):
        main(words(trained, tmp_path / "mine"))


def test_parts_that_are_not_named_are_those_of_the_base(trained, tmp_path):
    main(words(trained, tmp_path / "base"))
    main(words(trained, tmp_path / "other", "seed=5"))
    card = tmp_path / "card.md"
    card.write_text("# a card\n")
    made = [
        f"output={tmp_path / 'made'}",
        f"model.path={tmp_path / 'base'}",
        f"transformer={tmp_path / 'other' / 'transformer'}",
        f"card={card}",
        "vae=null",
        "text=null",
    ]
    main(made)
    for part, source in (("transformer", "other"), ("controller", "base"), ("vae", "base")):
        there, taken = weights(tmp_path / source, part), weights(tmp_path / "made", part)
        assert all(taken[key].equal(value) for key, value in there.items())
    assert (tmp_path / "made" / "README.md").read_text() == "# a card\n"
    card.write_text("# another card\n")
    with pytest.raises(FingerprintError, match="weights.card"):
        main(made)


def run_folder(root, trained, step, parts=("transformer", "transformer_ema"), steps=8):
    """A checkpoint of a run, as `training.train` lays it out."""
    folder = root / "checkpoints" / f"step-{step:08d}"
    source = trained / "vae" / "config.json"
    for part in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(source.read_text())
    (folder / PROGRESS).write_text(json.dumps({"step": step}))
    save_config(TrainConfig(steps=steps), folder / CONFIG)
    write_manifest(folder, step)
    return folder


def test_a_run_stands_for_its_newest_averaged_weights(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        newest_weights(tmp_path, "transformer")
    older = run_folder(tmp_path, trained, 4)
    with pytest.raises(ValueError, match="has 4 of 8 steps; .*unfinished=true"):
        newest_weights(tmp_path, "transformer")
    assert newest_weights(tmp_path, "transformer", unfinished=True) == older / "transformer_ema"
    newer = run_folder(tmp_path, trained, 8)
    assert newest_weights(tmp_path, "transformer") == newer / "transformer_ema"
    with pytest.raises(FileNotFoundError, match="contains no controller"):
        newest_weights(tmp_path, "controller")
    # Half of the newest one is not taken for the whole.
    (newer / "transformer" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="has 4 of 8 steps"):
        newest_weights(tmp_path, "transformer")


def test_without_an_average_the_live_weights_are_taken(trained, tmp_path):
    folder = run_folder(tmp_path, trained, 8, parts=("controller",))
    assert newest_weights(tmp_path, "controller") == folder / "controller"


@pytest.mark.parametrize(
    "more, error, message",
    [
        (["vae=null"], ValueError, "no source for the vae"),
        (["text=null"], ValueError, "no source for the tokenizer"),
        (["vae=nowhere"], FileNotFoundError, "contains no weights"),
        (["model.path=nowhere"], FileNotFoundError, "model.path=nowhere: no model"),
        (["backbone.head_channels=20"], ValueError, "divisible by 16"),
        (["weaving.layers=3"], ValueError, "cannot weave 3 layers into a backbone of 2"),
    ],
)
def test_what_cannot_be_put_together_is_refused(trained, tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        main(words(trained, tmp_path / "model", *more))
    assert list(tmp_path.iterdir()) == []


def test_parts_that_do_not_fit_are_refused(trained, tmp_path):
    main(words(trained, tmp_path / "model"))
    backbone = tmp_path / "model" / "transformer"
    with pytest.raises(ValueError, match="vae: .* contains a CogVideoXTransformer3DModel"):
        main(words(trained, tmp_path / "other", f"vae={backbone}"))
    vae = tmp_path / "vae"
    small_vae(VAEConfig(channels=(8, 8, 16), latent_channels=2), (32, 48), 0).save_pretrained(vae)
    with pytest.raises(ValueError, match="expects 8 channels, but .* have 4"):
        main(words(trained, tmp_path / "other", f"transformer={backbone}", f"vae={vae}"))
    narrow = tmp_path / "text"
    parts = tiny_components()
    parts["tokenizer"].model_max_length = int(1e30)
    for part in ("tokenizer", "text_encoder"):
        parts[part].save_pretrained(narrow / part)
    with pytest.raises(ValueError, match="how many tokens a prompt has"):
        main(words(trained, tmp_path / "other", f"text={narrow}"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["model", "export"])
def test_every_config_loads_and_opens_with_the_command_that_runs_it(name):
    path = CONFIGS / f"{name}.yaml"
    assert load_config(MakeModelConfig, (), str(path)).note
    assert path.read_text().startswith("# python -m training.make_model")


def test_anchorweave_tiny_stays_below_48_mb_in_half_precision(trained, tmp_path):
    vae = load_config(VAETrainConfig, (), str(CONFIGS / "vae.yaml")).vae
    small_vae(vae, (128, 192), 0).save_pretrained(tmp_path / "vae")
    config = load_config(MakeModelConfig, (), str(CONFIGS / "model.yaml"))
    folders = {name: trained / "text" / name for name in ("tokenizer", "text_encoder")}
    parts = read_parts(config, {"vae": tmp_path / "vae", **folders})
    networks = [part for part in parts.values() if isinstance(part, nn.Module)]
    assert 2 * sum(p.numel() for part in networks for p in part.parameters()) < 48e6


def test_what_describes_a_part_that_comes_from_a_folder_is_not_taken_in_vain():
    class Part:
        config = {"num_layers": 3, "num_heads": 4, "fusion": "pose_guided", "attention": "joint"}
        config |= {"tokens": "all", "holes": "filled"}

    def refuse(**weaving):
        config = MakeModelConfig(weaving=WeavingConfig(**weaving))
        refuse_in_vain(config, {"controller": Path("there")}, {"controller": Part})

    # Equal to the folder's, or as untold.
    refuse(heads=4)
    refuse()
    with pytest.raises(ValueError, match="weaving.fusion=average, but the controller .* there"):
        refuse(fusion="average")


def test_a_new_backbone_is_of_the_autoencoders_family(tmp_path):
    vae = VAEConfig(family="wan", channels=(8, 16, 16), latent_channels=4)
    small_vae(vae, (32, 48), seed=1).save_pretrained(tmp_path / "vae")
    parts = tiny_wan_components(seed=2)
    for part in ("tokenizer", "text_encoder"):
        parts[part].save_pretrained(tmp_path / part)
    made = words(tmp_path, tmp_path / "model", f"text={tmp_path}")
    main(made)
    pipe = AnchorWeaveWanPipeline.from_pretrained(tmp_path / "model")
    assert pipe.scheduler.config.prediction_type == "flow_prediction"
    sizes = family_of(pipe.transformer).sizes(pipe.transformer)
    assert (sizes.frames, sizes.latent_size, sizes.text_tokens) == (9, (4, 6), 32)
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(3, 32, 48)
    given = {"num_frames": 9, "height": 32, "width": 48, "guidance_scale": 1.0}
    video = pipe(image, "a room", **given, num_inference_steps=1, output_type="pt").frames[0]
    assert video.shape == (9, 3, 32, 48)
    other = [*made, f"model.path={tmp_path / 'model'}", f"output={tmp_path / 'other'}"]
    with pytest.raises(
        ValueError, match="backbone.time_channels=32, but the transformer .* has 16"
    ):
        main([*other, "backbone.time_channels=32"])
    with pytest.raises(ValueError, match="patch_size=1: Wan's patches are 2x2"):
        main([*made, f"output={tmp_path / 'patches'}", "backbone.patch_size=1"])
    # A text encoder of the other family's kind.
    tiny_components(seed=2)["text_encoder"].save_pretrained(tmp_path / "t5" / "text_encoder")
    parts["tokenizer"].save_pretrained(tmp_path / "t5" / "tokenizer")
    with pytest.raises(ValueError, match="T5EncoderModel"):
        main([*made, f"output={tmp_path / 'mixed'}", f"text={tmp_path / 't5'}"])
