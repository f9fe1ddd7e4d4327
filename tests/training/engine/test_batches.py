from dataclasses import fields

import pytest
import torch

from anchorweave.batched import Batched
from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.mixture import open_clips
from anchorweave.datasets.training_clip import Samples
from tests.training.clips import PROCESS, write_clips
from training.draws.anchor_dropout import AnchorDropoutConfig
from training.draws.noise import DrawConfig
from training.engine.batches import DrawnClips, RankBatches, stacked, training_calls

PLAIN = DrawConfig(caption_dropout=0.0)


def batches(rank=0, world=1, per_process=1, steps=(0, 6), clips=7, batch=4, seed=1):
    return RankBatches(clips, batch, per_process, rank, world, seed, steps)


def all_calls(clips, sampler, workers):
    with training_calls(clips, sampler, workers) as calls:
        return list(calls)


def by_step(*samplers):
    found = {}
    for sampler in samplers:
        for call in sampler:
            for at in call:
                found.setdefault(at.step, {})[at.place] = at.clip
    return {step: [places[i] for i in range(len(places))] for step, places in found.items()}


@pytest.mark.parametrize("world, per_process", [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)])
def test_every_number_of_ranks_takes_the_same_clips_at_the_same_places(world, per_process):
    one = by_step(batches())
    assert one == by_step(*(batches(rank, world, per_process) for rank in range(world)))


def test_an_epoch_visits_every_clip_once_and_the_next_one_in_another_order():
    order = [clip for clips in by_step(batches(steps=(0, 14))).values() for clip in clips]
    epochs = [order[i : i + 7] for i in range(0, 56, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 4


def test_going_on_needs_the_step_alone():
    whole = by_step(batches(steps=(0, 9)))
    assert by_step(batches(steps=(5, 9))) == {step: whole[step] for step in range(5, 9)}
    assert whole != by_step(batches(steps=(0, 9), seed=2))
    assert len(batches(steps=(5, 9), world=2)) == 4 * 2


@pytest.mark.parametrize("batch, per_process, world", [(4, 3, 1), (4, 1, 3), (2, 2, 2), (4, 8, 1)])
def test_a_batch_that_is_not_shared_evenly_is_refused(batch, per_process, world):
    with pytest.raises(ValueError, match=f"a multiple of {per_process * world}"):
        batches(0, world, per_process, batch=batch)
    with pytest.raises(ValueError, match="no clips to train on"):
        batches(clips=0)


def test_ranks_draw_different_noise_and_the_same_place_the_same(tmp_path):
    clips = DrawnClips(open_clips(write_clips(tmp_path / "clips")), PLAIN, PROCESS, seed=3)

    def first(rank, world):
        with training_calls(clips, batches(rank, world, clips=6), 0) as calls:
            return next(calls)

    left, right, alone = first(0, 2), first(1, 2), first(0, 1)
    assert not torch.equal(left.noise, right.noise)
    assert (left.places, right.places) == ((0,), (1,))
    assert torch.equal(left.noise, alone.noise)
    assert left.timestep.item() != right.timestep.item()


def test_workers_load_what_the_training_process_would(tmp_path):
    clips = DrawnClips(open_clips(write_clips(tmp_path / "clips")), PLAIN, PROCESS, seed=3)
    sampler = batches(per_process=2, clips=6, steps=(0, 2))
    here, there = (all_calls(clips, sampler, workers) for workers in (0, 1))
    assert [b.places for b in here] == [b.places for b in there]
    assert all(torch.equal(a.noise, b.noise) for a, b in zip(here, there, strict=True))
    assert all(a.names == b.names for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_clip_gives_its_place_to_the_next_and_is_named(tmp_path, workers):
    root = write_clips(tmp_path / "clips")
    broken = root / "clip_2" / "latents.safetensors"
    broken.write_bytes(broken.read_bytes()[:100])
    clips = DrawnClips(open_clips(root), PLAIN, PROCESS, seed=3)
    found = all_calls(clips, batches(clips=6, per_process=2, steps=(0, 2)), workers)
    bad = [error for drawn in found for error in drawn.bad]
    assert bad and {error.path.name for error in bad} == {"clip_2"}
    names = [name for drawn in found for name in drawn.names]
    assert len(names) == 8 and not any("clip_2" in name for name in names)


def test_nothing_but_bad_clips_is_no_batch(tmp_path):
    root = write_clips(tmp_path / "clips", count=2)
    for path in root.glob("*/latents.safetensors"):
        path.unlink()
    clips = DrawnClips(open_clips(root), PLAIN, PROCESS, seed=3)
    (found,) = all_calls(clips, batches(clips=2, batch=1, steps=(0, 1)), 0)
    assert not isinstance(found, Samples)
    assert len(found) == 2 and all(isinstance(error, BadClip) for error in found)


def test_a_batch_is_its_samples(tmp_path):
    root = write_clips(tmp_path / "clips")
    drop = AnchorDropoutConfig(frames=0.5, subset=0.5, only_first=0.0)
    config = DrawConfig(anchors=drop, caption_dropout=0.5)
    opened = open_clips(root)
    clips = DrawnClips(opened, config, PROCESS, 3, opened.empty_prompt())
    (call,) = batches(clips=6, per_process=4, steps=(2, 3))
    batch = stacked([clips[at] for at in call])
    for row, at in enumerate(call):
        alone = clips[at]
        assert torch.equal(batch.noise[row], alone.noise[0])
        assert torch.equal(batch.image_noise[row], alone.image_noise[0])
        assert torch.equal(batch.anchors.latents[row], alone.anchors.latents[0])
        assert torch.equal(batch.prompt_features[row], alone.prompt_features[0])


def test_a_batch_is_pinned_whole(tmp_path, monkeypatch):
    pinned = []

    def pin(tensor):
        pinned.append(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    drawn = DrawnClips(open_clips(write_clips(tmp_path / "clips")), PLAIN, PROCESS, seed=3)
    (call,) = batches(clips=6, per_process=2, batch=2, steps=(0, 1))
    batch = stacked([drawn[at] for at in call])
    again = batch.pin_memory()
    assert again.places == batch.places and again.names == batch.names

    def tensors(value):
        values = [getattr(value, field.name) for field in fields(value)]
        inside = [one for part in values if isinstance(part, Batched) for one in tensors(part)]
        return [part for part in values if isinstance(part, torch.Tensor)] + inside

    assert len(tensors(batch)) == 15
    assert {tensor.data_ptr() for tensor in tensors(batch)} == set(pinned)
