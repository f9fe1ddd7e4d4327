from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from anchorweave.anchors import Anchors, References, Retrieved
from anchorweave.config import load_config
from anchorweave.geometry.cameras import Cameras
from anchorweave.models.precision import has_bfloat16
from anchorweave.models.small.tiny import write_tiny
from anchorweave.run_config import ModelConfig, RunConfig, SamplingConfig
from inference.runs.generator import load_pipeline, make_generator
from tests.alike import alike

SMALL = load_config(RunConfig, ["frames=5", "size=[32,64]"])


def with_model(**model):
    return replace(SMALL, model=ModelConfig(**model))


def test_the_line_about_weights_tells_what_was_loaded(tmp_path):
    assert load_pipeline(SMALL)[1] == "weights: random (untrained)"
    path = write_tiny(tmp_path / "model", frames=5, size=(32, 64))
    pipe, line = load_pipeline(with_model(path=str(path)))
    assert line == f"weights: random (untrained), from {path}"
    pipe.controller.save_pretrained(tmp_path / "controller")
    other = with_model(path=str(path), controller=str(tmp_path / "controller"))
    assert load_pipeline(other)[1].endswith(f"weaving controller: {tmp_path / 'controller'}")


def test_a_controller_trained_beside_the_tiny_networks_is_used(tmp_path):
    pipe, _ = load_pipeline(SMALL)
    torch.nn.init.constant_(pipe.controller.control_proj[0].bias, 0.5)
    pipe.controller.save_pretrained(tmp_path / "controller")
    loaded, line = load_pipeline(with_model(controller=str(tmp_path / "controller")))
    assert loaded.controller.control_proj[0].bias.unique().item() == 0.5
    assert line.startswith("weights: random (untrained) backbone, weaving controller: ")


def test_a_backbone_without_a_controller_gets_a_new_one_and_says_so(tmp_path):
    path = write_tiny(tmp_path / "model", frames=5, size=(32, 64))
    index = (path / "model_index.json").read_text()
    index = index.replace("AnchorWeavePipeline", "CogVideoXImageToVideoPipeline")
    lines = [line for line in index.splitlines(keepends=True)]
    start = next(i for i, line in enumerate(lines) if '"controller"' in line)
    (path / "model_index.json").write_text("".join(lines[:start] + lines[start + 4 :]))
    pipe, line = load_pipeline(
        with_model(
            path=str(path),
        )
    )
    assert "untrained: it has no effect" in line
    assert not any(project.weight.any() for project in pipe.controller.control_proj)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_of_the_steps_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=rf"sampling.start_share={share}: must be a share"):
        SamplingConfig(start_share=share)


def test_anchors_may_be_the_start_of_a_backbone_that_reads_none():
    pipe, _ = load_pipeline(SMALL)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    video, first = torch.rand(1, 5, 3, 32, 64, generator=generator), torch.rand(3, 32, 64)
    visible, poses = torch.ones(1, 5, 32, 64, dtype=torch.bool), torch.eye(4).repeat(1, 5, 1, 1)
    nothing = References(
        torch.zeros(0, 3, 32, 64),
        Cameras(torch.eye(4)[None][:0], torch.eye(3)[None][:0], (32, 64)),
        torch.zeros(0, 4, 4),
    )
    known = Retrieved(Anchors(video, visible, poses), nothing, poses[0], unit=1.0)
    alone = SamplingConfig(steps=2, guidance=1.0, control_weight=0.0, camera_weight=0.0)
    from_noise, from_anchors, from_nothing = (
        make_generator(pipe, replace(alone, start=start, start_share=0.5), "")(first, what, 0)
        for start, what in (
            ("noise", known),
            ("anchors", known),
            ("anchors", replace(known, anchors=known.anchors[:0])),
        )
    )
    assert not alike(from_anchors, from_noise)
    assert not alike(from_anchors, from_nothing)


def test_precision_and_tiling_are_as_asked():
    told = nullcontext() if has_bfloat16("cpu") else pytest.warns(UserWarning, match="bfloat16")
    with told:
        pipe, _ = load_pipeline(with_model(dtype="bfloat16", tile_vae=True, device="cpu"))
    assert pipe.transformer.dtype == pipe.controller.dtype == torch.bfloat16
    assert pipe.vae.use_slicing and pipe.vae.use_tiling
    plain, _ = load_pipeline(SMALL)
    assert plain.transformer.dtype == torch.float32 and not plain.vae.use_tiling


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("model", [{"device": "cuda"}, {"offload": "group"}])
def test_a_gpu_that_is_not_there_is_not_pretended(model):
    with pytest.raises(ValueError, match="CUDA GPU"):
        load_pipeline(with_model(**model))
