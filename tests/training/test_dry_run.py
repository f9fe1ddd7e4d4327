import json
from dataclasses import replace

import pytest

from anchorweave.models.backbones.cogvideox import PUBLISHED_5B
from anchorweave.models.references.reference_tokens import ReferenceTokens
from tests.models.small import small_backbone
from training.dry_run import DryRunConfig, dry_run, estimate
from training.estimates.run_shapes import PAPER_CLIPS, ClipShape, clip_shape
from training.options.networks import NetworkConfig
from training.options.training import DataConfig, TrainConfig
from training.train import main as train

FULL = TrainConfig(model=NetworkConfig(path="nowhere"), precision="bf16")


def test_parameters_tokens_and_checkpoint_of_the_5b():
    report = estimate(FULL, PUBLISHED_5B, PAPER_CLIPS, world=8)
    assert report["parameters"]["backbone"] == 5_570_479_680
    # 416.84 M, as was counted in the released code
    assert report["parameters"]["controller"] == report["parameters"]["trained"]
    assert round(report["parameters"]["trained"] / 1e6, 2) == 416.84
    L = 13 * 30 * 45
    tokens = {
        "backbone": 226 + L,
        "controller": 226 + 4 * L,
        "controller_rows": 1,
        "references": 0,
        "preceding": 0,
    }
    assert report["tokens"] == tokens
    # weights, two moments and an average, float32
    assert report["checkpoint_gib"] * 2**30 == 16 * report["parameters"]["trained"]


@pytest.mark.parametrize("backbone", ["lora", "full"])
def test_a_trained_backbone_counts_as_trained(backbone):
    clips = ClipShape((3, 4, 6), 2, 5, 10, "a test")
    small = _small_config()
    network = NetworkConfig(path="nowhere", layers=2, heads=2, train_backbone=backbone, lora_rank=4)
    config = TrainConfig(model=network)
    report = estimate(config, small, clips, world=1)
    parameters = report["parameters"]
    # four projections of 64 x 64 in each of three layers, rank 4 on both sides
    more = 3 * 4 * 4 * (64 + 64) if backbone == "lora" else parameters["backbone"]
    assert parameters["trained"] == parameters["controller"] + more


def test_a_reference_network_counts_as_trained_where_it_is(tmp_path):
    clips, small = ClipShape((3, 4, 6), 2, 5, 10, "a test"), _small_config()
    ReferenceTokens.from_backbone(small_backbone()).save_pretrained(tmp_path / "references")

    def counted(**network):
        network = {"path": "nowhere", "layers": 2, "heads": 2, "train_backbone": "lora", **network}
        config = TrainConfig(model=NetworkConfig(**network))
        found = estimate(config, small, clips, world=1)["parameters"]
        return found["references"], found["trained"]

    none, base = counted()
    # A patch of 2 x 2 x 4 to 64, and 12 numbers of a pose to 64 in each of three blocks.
    size = 16 * 64 + 64 + 3 * (12 * 64 + 64)
    assert none == 0 and counted(new_references="tokens") == (size, base + size)
    kept = {"references": str(tmp_path / "references"), "train_references": False}
    assert counted(**kept) == (size, base)
    assert counted(references=str(tmp_path / "gone"), train_references=False) == (0, base)


def test_epochs_and_accumulation():
    clips = ClipShape((3, 4, 6), 2, 5, 40, "a test")
    network = NetworkConfig(path="nowhere", layers=2, heads=2)
    config = TrainConfig(model=network, steps=100, batch=8)
    report = estimate(config, _small_config(), clips, world=2)
    assert report["epochs"] == 20
    twice = TrainConfig(model=network, steps=100, batch=16)
    more = estimate(twice, _small_config(), clips, world=2)
    assert more["tflops_per_step"]["forward"] == 2 * report["tflops_per_step"]["forward"]


def _small_config():
    config = dict(small_backbone().config)
    return {key: value for key, value in config.items() if not key.startswith("_")}


def test_the_tiny_run_is_told_with_nothing_missing_but_data(capsys, tmp_path):
    network, file = NetworkConfig(layers=3, heads=2), tmp_path / "new" / "report.json"
    dry_run(DryRunConfig(model=network, data=DataConfig("nowhere/clips"), report=str(file)))
    shown = capsys.readouterr().out
    report = json.loads(file.read_text())
    for told in ("nowhere/clips", "fsdp2", "TFLOPs", "visible=1;"):
        assert told in shown
    assert "{" not in shown
    assert report["backbone_from"] == "tiny"
    assert len(report["missing"]) == 1 and "nowhere/clips" in report["missing"][0]


def test_a_dry_run_of_training_takes_the_options_of_the_dry_run_and_one_rank_tells(
    capsys, tmp_path, monkeypatch
):
    file = tmp_path / "report.json"
    words = ["data.train=nowhere/clips", "--dry-run", "gpus=3", "visible=0.45", f"report={file}"]
    monkeypatch.setenv("RANK", "1")
    train(words)
    assert not capsys.readouterr().out and not file.exists()
    monkeypatch.setenv("RANK", "0")
    train(words)
    assert "gpus=3" in (shown := capsys.readouterr().out) and "visible=0.45" in shown
    assert json.loads(file.read_text())["gpus"] == 3


def test_time_and_disk_are_those_of_the_machine_that_is_asked_for():
    network = NetworkConfig(path="nowhere", tokens="visible")
    config = DryRunConfig(model=network, precision="bf16", visible=0.45, utilisation=0.2509)
    one = estimate(config, PUBLISHED_5B, PAPER_CLIPS, world=8)
    # 4.313 s a clip on an H200, which the utilisation was reckoned from; 8 clips on 8 GPUs.
    assert one["seconds_per_step"] == pytest.approx(4.313, rel=1e-3)
    two = estimate(config, PUBLISHED_5B, PAPER_CLIPS, world=16)
    assert two["seconds_per_step"] == pytest.approx(one["seconds_per_step"] / 2)
    # Three newest, the best, and one that is being written.
    assert one["checkpoints_gib"] == 5 * one["checkpoint_gib"]
    plain = estimate(TrainConfig(model=network, precision="bf16"), PUBLISHED_5B, PAPER_CLIPS, 8)
    assert plain["seconds_per_step"] > one["seconds_per_step"]
    rows = {
        (r["strategy"], r["gradient_checkpointing"], r["kept"]): r["total"]
        for r in one["memory_gib"]
    }
    kept = [rows["ddp", True, what] for what in ("nothing", "attention_of_controller", "attention")]
    assert kept == sorted(kept) and kept[-1] < rows["ddp", False, "nothing"]


def test_references_and_the_memory_system_count():
    def report_of(clips=PAPER_CLIPS, **options):
        memory = options.pop("memory")
        network = NetworkConfig(path="nowhere", new_controller="none", **options)
        config = DryRunConfig(model=network, precision="bf16", data=DataConfig(memory=memory))
        return estimate(config, PUBLISHED_5B, clips, world=1)

    tokens = report_of(memory="global_cloud", new_references="tokens")
    # Spatia's seven references, a latent frame of 30 x 45 tokens each.
    assert tokens["tokens"]["references"] == 7 * 1350
    assert tokens["tokens"]["backbone"] == 226 + 13 * 1350 + 7 * 1350
    attention = report_of(memory="map_and_keyframes", new_references="attention")
    assert attention["tokens"]["references"] == 15 * 1350
    assert attention["tokens"]["backbone"] == 226 + 13 * 1350
    # As many as a clip on disk has.
    two = replace(PAPER_CLIPS, references=2)
    fewer = report_of(two, memory="global_cloud", new_references="tokens")
    assert fewer["tokens"]["references"] == 2 * 1350
    none = replace(PAPER_CLIPS, references=0)
    alone = report_of(none, memory="map_and_keyframes", new_references="attention")
    for more, less in ((tokens, fewer), (attention, alone)):
        assert more["seconds_per_step"] > less["seconds_per_step"]
    rows = [report["memory_gib"][1]["total"] for report in (fewer, tokens)]
    assert rows[0] < rows[1]


@pytest.mark.parametrize(
    "memory, anchors", [("local_clouds", 4), ("map_and_keyframes", 1), ("global_cloud", 1)]
)
def test_without_a_clip_a_system_has_as_many_anchors_as_it_gives(memory, anchors):
    config = TrainConfig(
        model=NetworkConfig(path="nowhere"), data=DataConfig("nowhere/clips", memory=memory)
    )
    assert clip_shape(config).anchors == anchors


def test_a_number_of_references_without_a_network_for_them_is_refused():
    with pytest.raises(ValueError, match="references=3 .* there is none"):
        DryRunConfig(model=NetworkConfig(path="nowhere"), references=3)
