"""How fast training is; the last line printed is one JSON object.

    python -m tests.benchmarks.training

`loader`: clips of the 5B's size (49 frames of 480 x 720, four anchors, 226 text tokens, bfloat16 on
disk) read, checked and given their noise, clips per second for several numbers of worker processes.
`needed_by_one_h100` is what one H100 could take if it did nothing but the step's operations at its
peak rate, with gradient checkpointing; what it really takes is a half to a third of that. The files
were just written, so they come from memory: a slow disk is not in this number.

`tiny_step`: the training loop as it is run, on the tiny networks; seconds from step to step, and
the share of them that is spent neither in the networks nor in their backward pass. Clips are loaded
by the training process itself, which is what `share_waiting_for_clips` is. Beside networks as small
as these, what is done once for each parameter or step weighs most; a batch shares it.

`full_step`: where there is a CUDA GPU, a step of the 5B's shape with random weights, one clip of
four anchors: seconds, peak memory, and model FLOPs utilisation (what is recomputed does not count),
with and without gradient checkpointing.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator

from anchorweave.config import save_config
from anchorweave.datasets.encoded_clip import (
    FEATURES,
    IMAGE,
    TARGET,
    anchors_key,
    references_key,
    visible_key,
    write_tensors,
)
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    RECORD,
)
from anchorweave.diffusion.objective import ObjectiveConfig
from anchorweave.diffusion.v_prediction import VPrediction
from anchorweave.files import write_json
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.cogvideox import PUBLISHED_5B, CogVideoXTransformer3DModel
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.estimates.cards import GIB, PROCESS
from training import train
from training.draws.anchor_dropout import AnchorDropoutConfig
from training.draws.noise import DrawConfig
from training.engine.batches import DrawnClips, Place, RankBatches, training_calls
from training.engine.step import batch_losses
from training.engine.tracking import LOG, read_log
from training.estimates.memory import Weights, memory
from training.estimates.operations import Step, training_step
from training.estimates.run_shapes import PAPER_CLIPS, TINY_CLIPS, ClipShape, backbone_config
from training.options.training import (
    CheckpointConfig,
    DataConfig,
    LoggingConfig,
    NetworkConfig,
    TrainConfig,
)

# The schedule does not matter to the time; any falling from 1 to 0 will do.
NOISE = VPrediction(torch.linspace(0.999, 0, 1000))
MEMORY = "local_clouds"
CLIPS = 16
WORKERS = (0, 1, 2)
STEPS, WARM_UP = 30, 5
BATCHES = (1, 4)
# Dense bfloat16, operations per second, by a word of the device's name.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
NOTHING_HIDDEN = DrawConfig(anchors=AnchorDropoutConfig(0.0, 0.0, 0.0))


def write_clips(root: Path, clips: ClipShape, channels: int, text_dim: int, count: int) -> None:
    """A data set of noise in the layout of precomputed clips, bfloat16 as `storage` may say."""
    make = torch.Generator().manual_seed(0)
    (t, h, w), N, S = clips.latent_size, clips.anchors, clips.text_tokens
    T = 4 * (t - 1) + 1

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make).bfloat16()

    root.mkdir()
    write_tensors(root / EMPTY_CAPTION, {FEATURES: noise(S, text_dim)}, {})
    for i in range(count):
        clip = root / f"clip_{i:04d}"
        clip.mkdir()
        tensors = {
            TARGET: noise(t, channels, h, w),
            IMAGE: noise(1, channels, h, w),
            anchors_key(MEMORY): noise(N, t, channels, h, w),
            visible_key(MEMORY): torch.rand(N, t, h // 2, w // 2, generator=make) > 0.4,
            references_key(MEMORY): noise(0, channels, h, w),
        }
        write_tensors(clip / LATENTS, tensors, {})
        write_tensors(clip / CAPTION_FEATURES, {FEATURES: noise(S, text_dim)}, {})
        poses = np.broadcast_to(np.eye(4, dtype=np.float32), (T, 4, 4))
        np.savez(
            clip / CAMERAS,
            c2w=poses,
            K=np.broadcast_to(np.eye(3, dtype=np.float32), (T, 3, 3)),
            size=np.array((8 * h, 8 * w)),
            unit=np.array(1.0),
            target2first=poses,
            **{
                f"target2source.{MEMORY}": np.broadcast_to(poses, (N, T, 4, 4)),
                f"reference2first.{MEMORY}": poses[:0],
            },
        )
        write_json({"source": "noise", "frames": [], "history": [], "made": {}}, clip / RECORD)


def measure_loader(folder: Path) -> dict:
    """Clips per second of the loader against what a GPU could take."""
    root = folder / "large"
    write_clips(root, PAPER_CLIPS, 16, PUBLISHED_5B["text_embed_dim"], CLIPS)
    clips = LatentClips(root, MEMORY)
    drawn = DrawnClips(clips, DrawConfig(), NOISE, 0, clips.empty_prompt())
    rates = {}
    for workers in WORKERS:
        batches = RankBatches(len(clips), 1, 1, 0, 1, 0, (0, 2 * CLIPS))
        with training_calls(drawn, batches, workers) as calls:
            # The first ones also start the workers.
            for _ in range(4):
                next(calls)
            start = time.perf_counter()
            count = sum(1 for _ in calls)
        rates[str(workers)] = round(count / (time.perf_counter() - start), 2)
    step = step_of_the_5b()
    operations = step.forward + step.backward + step.recomputed()
    return {
        "clips_per_second_by_workers": rates,
        "needed_by_one_h100": round(PEAKS["H100"] / operations, 2),
    }


def measure_tiny_step(folder: Path, batch: int) -> dict:
    """Seconds per step of the real loop, and the share outside forward and backward.

    Args:
        folder: for clips and output.
        batch: clips in a step, in one call.
    """
    root = folder / f"small_{batch}"
    output = folder / f"run_{batch}"
    network = NetworkConfig(layers=3, heads=2)
    _, backbone, _ = backbone_config(network, TINY_CLIPS)
    write_clips(root, TINY_CLIPS, backbone["out_channels"], backbone["text_embed_dim"], 8)
    config = TrainConfig(
        output=str(output),
        steps=STEPS,
        batch=batch,
        batch_per_process=batch,
        data=DataConfig(train=str(root)),
        model=network,
        draw=NOTHING_HIDDEN,
        checkpoints=CheckpointConfig(every_steps=10 * STEPS, every_minutes=None),
        logging=LoggingConfig(picture_every=10 * STEPS),
    )
    starts, spent = [], []
    forward, backward = Denoiser.forward, Accelerator.backward

    def timed_forward(self, *args, **kwargs):
        starts.append(time.perf_counter())
        answer = forward(self, *args, **kwargs)
        spent.append(time.perf_counter() - starts[-1])
        return answer

    def timed_backward(self, *args, **kwargs):
        start = time.perf_counter()
        backward(self, *args, **kwargs)
        spent[-1] += time.perf_counter() - start

    words = folder / f"config_{batch}.yaml"
    save_config(config, words)
    with (
        mock.patch.object(Denoiser, "forward", timed_forward),
        mock.patch.object(Accelerator, "backward", timed_backward),
    ):
        train.main([f"config={words}"])
    whole = [after - before for before, after in zip(starts, starts[1:], strict=False)][WARM_UP:]
    networks = spent[WARM_UP:-1]
    # Step by step, so that what else the machine does weighs on both alike.
    shares = [1 - inside / step for inside, step in zip(networks, whole, strict=True)]
    waited = [record["waiting_share"] for record in read_log(output / LOG)][WARM_UP:]
    return {
        "seconds": round(statistics.median(whole), 4),
        "share_outside_networks": round(statistics.median(shares), 4),
        "share_waiting_for_clips": round(statistics.median(waited), 4),
    }


def measure_full_step() -> dict | None:
    """The 5B's step on a GPU with and without gradient checkpointing; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    peak = next((rate for word, rate in PEAKS.items() if word in name), None)
    denoiser = _denoiser_of_the_5b()
    found = {"gpu": name}
    for checkpointing in (True, False):
        key = "with_checkpointing" if checkpointing else "without_checkpointing"
        for network in (denoiser.backbone, denoiser.controller):
            switch = "enable" if checkpointing else "disable"
            getattr(network, f"{switch}_gradient_checkpointing")()
        try:
            seconds, held = _time_steps(denoiser)
        except torch.cuda.OutOfMemoryError:
            found[key] = f"out of memory on {torch.cuda.mem_get_info()[1] / GIB:.0f} GiB"
            continue
        step = step_of_the_5b()
        rate = (step.forward + step.backward) / seconds
        found[key] = {
            "seconds": round(seconds, 3),
            "peak_gib": round(held / GIB, 1),
            "estimated_gib": round(_estimated_gib(denoiser, checkpointing), 1),
            "model_tflops_per_second": round(rate / 1e12, 1),
            "model_flops_utilisation": peak and round(rate / peak, 3),
        }
    return found


def step_of_the_5b() -> Step:
    """The operations of one clip of the paper's size in the 5B."""
    with torch.device("meta"):
        backbone = CogVideoXTransformer3DModel(**PUBLISHED_5B)
        controller = WeavingController.from_backbone(backbone)
    return training_step(
        family_of(backbone).sizes(backbone),
        controller.config,
        batch=1,
        anchors=PAPER_CLIPS.anchors,
        latent_size=PAPER_CLIPS.latent_size,
        text_tokens=PAPER_CLIPS.text_tokens,
    )


def _denoiser_of_the_5b() -> Denoiser:
    """Random weights made on the GPU: a frozen backbone in bfloat16, a controller in float32."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            backbone = CogVideoXTransformer3DModel(**PUBLISHED_5B)
        finally:
            torch.set_default_dtype(before)
        controller = WeavingController.from_backbone(backbone)
    return Denoiser(backbone.requires_grad_(False), controller).train()


def _time_steps(denoiser: Denoiser, steps: int = 4) -> tuple[float, int]:
    """Seconds of one step of training, the median of some, and the peak of memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clips"
        write_clips(root, PAPER_CLIPS, 16, PUBLISHED_5B["text_embed_dim"], 1)
        clips = LatentClips(root, MEMORY)
        drawn = DrawnClips(clips, NOTHING_HIDDEN, NOISE, 0, clips.empty_prompt())
        batch = drawn[Place(0, 0, 0)]
    optimizer = torch.optim.AdamW(denoiser.controller.parameters(), lr=1e-6)
    process = NOISE.to("cuda")
    rotary = family_of(denoiser.backbone).positions(
        denoiser.backbone, PAPER_CLIPS.latent_size, device="cuda"
    )
    average = [p.detach().clone() for p in denoiser.controller.parameters()]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            losses = batch_losses(
                denoiser, batch, process, rotary, ObjectiveConfig(), torch.bfloat16
            )
        losses.total.mean().backward()
        torch.nn.utils.clip_grad_norm_(denoiser.controller.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        torch._foreach_lerp_(average, list(denoiser.controller.parameters()), 0.005)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    # The first step also chooses kernels.
    return statistics.median(seconds[1:]), torch.cuda.max_memory_allocated()


def _estimated_gib(denoiser: Denoiser, checkpointing: bool) -> float:
    frozen, trained = (
        sum(p.numel() for p in part.parameters())
        for part in (denoiser.backbone, denoiser.controller)
    )
    parts = memory(step_of_the_5b(), Weights(frozen, trained), "ddp", 1, checkpointing)
    # torch counts what it hands out, not what the process takes beside it.
    return (sum(parts.values()) - PROCESS) / GIB


def main() -> None:
    """Print one JSON object."""

    def say(what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    report = {}
    with tempfile.TemporaryDirectory() as folder:
        say("loader: clips of 49 frames of 480 x 720")
        report["loader"] = measure_loader(Path(folder))
        say(json.dumps(report["loader"]))
        report["tiny_step"] = {"goal": 0.05}
        for batch in BATCHES:
            say(f"tiny step: {STEPS} steps of {batch} clips")
            report["tiny_step"][f"batch_{batch}"] = measure_tiny_step(Path(folder), batch)
        say(json.dumps(report["tiny_step"]))
    say("full step: the 5B's shape")
    report["full_step"] = measure_full_step()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
