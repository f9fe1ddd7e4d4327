"""What the pipeline of every family does, whatever its backbone."""

from dataclasses import replace

import pytest
import torch

from anchorweave.models.references.reference_networks import REFERENCE_NETWORKS
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.pipelines import pipeline_class
from tests.alike import alike
from tests.pipelines import small
from tests.pipelines.small import (
    MEMBERS,
    PROMPT,
    T,
    embedded,
    make_pipeline,
    parent_of,
    quiet,
    run,
    size_of,
    teach,
    with_references,
)


@pytest.fixture(scope="module", params=MEMBERS)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def pipeline(family):
    pipeline = make_pipeline(family=family)
    teach(pipeline.controller)
    return pipeline


@pytest.fixture(scope="module")
def parent(pipeline):
    return parent_of(pipeline)


@pytest.fixture(scope="module")
def features(pipeline):
    return embedded(pipeline)


@pytest.fixture(scope="module")
def known(family):
    """A function: what was retrieved, at the size of the family's videos."""
    return lambda slots=2, seed=0, **given: small.retrieved(
        slots, seed, **({"size": MEMBERS[family].size} | given)
    )


def pictures(pipeline, *seeds):
    return torch.stack([small.picture(seed, size_of(pipeline)) for seed in seeds])


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_nothing_retrieved_is_diffusers_pipeline(pipeline, parent, features, guidance):
    theirs = run(parent, guidance_scale=guidance, **features)
    assert alike(run(pipeline, guidance_scale=guidance), theirs)


def test_a_zero_controller_changes_nothing_and_another_does(
    family, pipeline, parent, features, known
):
    """Nothing is added but zeros."""
    zero = make_pipeline(family=family)
    theirs = run(parent, output_type="pt", **features)
    assert alike(run(zero, retrieved=known(), output_type="pt"), theirs)
    woven = run(pipeline, retrieved=known(), output_type="pt")
    assert woven.shape == (1, T, 3, *size_of(pipeline))
    assert not torch.allclose(woven, theirs, atol=1e-4)


def test_each_weight_switches_its_own_half_off(pipeline, known):
    plain, both, control, camera, none = (
        run(pipeline, retrieved=what, control_weight=a, camera_weight=b)
        for what, a, b in (
            (None, 1.0, 1.0),
            (known(), 1.0, 1.0),
            (known(), 1.0, 0.0),
            (known(), 0.0, 1.0),
            (known(), 0.0, 0.0),
        )
    )
    assert alike(none, plain)
    different = [plain, both, control, camera]
    for i, a in enumerate(different):
        assert not any(torch.allclose(a, b, atol=1e-4) for b in different[:i])


def test_an_empty_memory_still_follows_the_cameras(pipeline, known):
    empty = run(pipeline, retrieved=known(slots=0))
    assert torch.isfinite(empty).all()
    assert not torch.allclose(empty, run(pipeline), atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_rows_of_a_batch_are_those_of_each_alone(pipeline, known, guidance):
    prompts, images = [PROMPT, "a chair"], pictures(pipeline, 1, 2)
    memories, scale = [known(seed=1), known(seed=2)], {"guidance_scale": guidance}
    together = run(pipeline, images, prompts, (3, 4), retrieved=memories, **scale)
    for i in range(2):
        alone = run(pipeline, images[i], prompts[i], (3 + i,), retrieved=memories[i], **scale)
        torch.testing.assert_close(together[i], alone[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-1)


def test_the_order_of_anchors_means_nothing(pipeline, known):
    what = known(3)
    turned = replace(what, anchors=what.anchors[[2, 0, 1]])
    once = {"num_inference_steps": 1}
    found = run(pipeline, retrieved=turned, **once)
    torch.testing.assert_close(found, run(pipeline, retrieved=what, **once), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("window", "steps", "active"),
    [
        ((0.0, 0.8), 5, [0, 1, 2, 3, 4]),
        ((0.0, 0.0), 4, [0]),
        ((0.5, 0.75), 4, [2, 3]),
        ((0.9, 1.0), 4, []),
    ],
)
@pytest.mark.parametrize("other", [False, True])
def test_the_controller_runs_in_its_window_and_the_cameras_once(
    family, pipeline, known, monkeypatch, window, steps, active, other
):
    step, controlled, cameras = [0], [], []
    features = pipeline.controller.camera_features

    def counted(target2first):
        cameras.append(len(target2first))
        return features(target2first)

    def next_step(pipeline, i, timestep, given):
        step[0] = i + 1
        return given

    monkeypatch.setattr(pipeline.controller, "camera_features", counted)
    if other:
        scheduler = MEMBERS[family].other_scheduler(pipeline.scheduler)
        monkeypatch.setattr(pipeline, "scheduler", scheduler)
    hook = pipeline.controller.register_forward_hook(lambda *_: controlled.append(step[0]))
    try:
        run(
            pipeline,
            retrieved=known(slots=1),
            num_inference_steps=steps,
            control_window=window,
            guidance_scale=1.0,
            callback_on_step_end=next_step,
        )
    finally:
        hook.remove()
    assert controlled == active
    assert cameras == [1]


@pytest.mark.parametrize("every", [1, 2])
def test_the_controller_may_run_in_every_second_step(pipeline, known, every):
    calls = []
    hook = pipeline.controller.register_forward_hook(lambda *_: calls.append(1))
    try:
        found = run(
            pipeline,
            retrieved=known(),
            control_every=every,
            num_inference_steps=4,
            guidance_scale=1.0,
        )
    finally:
        hook.remove()
    # 4 steps, all of which lie in the window of 0.8 (i / 4 <= 0.75).
    assert len(calls) == 4 // every and found.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda p, known: {"image": pictures(p, 1, 2)}, r"2 image\(s\) for 1 prompt"),
        (lambda p, known: {"image": []}, r"0 image\(s\) for 1 prompt"),
        (lambda p, known: {"image": 2 * pictures(p, 1) - 1}, r"\[0, 1\]"),
        (lambda p, known: {"prompt": None}, "no prompt"),
        (lambda p, known: {"num_frames": 0}, "the nearest lengths are 1 and 5"),
        (lambda p, known: {"num_frames": 8}, "the nearest lengths are 5 and 9"),
        (lambda p, known: {"height": 0}, "divisible by"),
        (lambda p, known: {"height": 40}, "divisible by"),
        (lambda p, known: {"retrieved": known(frames=5)}, r"retrieved\[0\] has 5 frames"),
        (
            lambda p, known: {"retrieved": known(size=(96, 96))},
            r"retrieved\[0\] has 9 frames of 96x96",
        ),
        (lambda p, known: {"retrieved": [known(), known()]}, "2 retrieved for 1 prompt"),
        (lambda p, known: {"retrieved": []}, "0 retrieved for 1 prompt"),
        (
            lambda p, known: {"retrieved": replace(known(), unit=None)},
            r"retrieved\[0\] has lengths in the recording's unit.*in_unit",
        ),
        (lambda p, known: {"control_window": (0.8, 0.2)}, "control_window"),
        (lambda p, known: {"control_window": (0.0, 1.5)}, "control_window"),
        (
            lambda p, known: {"start": "image", "retrieved": known()},
            "start='image' with anchors retrieved",
        ),
        (lambda p, known: {"start": "anchors"}, "start='anchors' with nothing retrieved"),
        (
            lambda p, known: {"start": "anchors", "retrieved": known(), "start_share": 0.0},
            "start_share=0.0 must be a fraction",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(pipeline, known, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(pipeline, **arguments(pipeline, known))


def test_size_and_length_come_from_what_was_retrieved(pipeline, known):
    size = size_of(pipeline)
    made = pipeline(
        small.picture(size=size),
        PROMPT,
        retrieved=known(frames=5),
        num_inference_steps=1,
        output_type="np",
    )
    assert made.frames.shape == (1, 5, *size, 3)


def test_a_saved_pipeline_comes_back(pipeline, known, tmp_path):
    pipeline.save_pretrained(tmp_path)
    kind, whole = pipeline_class(tmp_path)
    assert kind is type(pipeline) and whole
    again = quiet(kind.from_pretrained(tmp_path))
    found, expected = (
        run(pipe, retrieved=known(), num_inference_steps=1) for pipe in (again, pipeline)
    )
    assert alike(found, expected)


@pytest.mark.parametrize("kind", REFERENCE_NETWORKS)
def test_references_are_read_by_who_can_and_saved_with_the_model(family, known, kind, tmp_path):
    plain = make_pipeline(family=family)
    options = {"attention": {"interval": 1, "heads": 2, "head_dim": 8}}.get(kind, {})
    network = REFERENCE_NETWORKS[kind].from_backbone(plain.transformer, **options)
    for name, parameter in network.named_parameters():
        if "to_out" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    reading = quiet(type(plain).from_backbone(plain, plain.controller, references=network))
    # Guidance doubles the batch that references have to follow.
    short = {"guidance_scale": 5.0, "num_inference_steps": 1}
    seen = with_references(known(slots=0))
    alone, read = (run(p, retrieved=seen, **short) for p in (plain, reading))
    assert (read - alone).abs().max() > 1e-3
    other = run(reading, retrieved=with_references(known(slots=0), seed=4), **short)
    assert (read - other).abs().max() > 1e-3
    without = run(reading, retrieved=known(slots=0), **short)
    torch.testing.assert_close(without, alone)
    reading.save_pretrained(tmp_path / "model")
    again = quiet(type(plain).from_pretrained(tmp_path / "model"))
    assert alike(run(again, retrieved=seen, **short), read)


def test_samples_of_a_batch_may_have_more_and_fewer_references(family, known):
    plain = make_pipeline(family=family)
    network = ReferenceTokens.from_backbone(plain.transformer)
    for layer in network.pose:
        torch.nn.init.normal_(layer.weight, std=0.1)
    reading = quiet(type(plain).from_backbone(plain, plain.controller, references=network))
    memories = [with_references(known(), 2), known(seed=1)]
    images, prompts = pictures(plain, 0, 1), [PROMPT, "a garden"]
    short = {"guidance_scale": 1.0, "num_inference_steps": 1}
    together = run(reading, images, prompts, (0, 1), retrieved=memories, **short)
    for b in range(2):
        single = run(reading, images[b], prompts[b], (b,), retrieved=memories[b], **short)
        torch.testing.assert_close(together[b : b + 1], single, atol=1e-4, rtol=1e-3)


def test_half_precision_runs_through(family, known):
    half = make_pipeline(family=family).to(torch.bfloat16)
    teach(half.controller)
    woven = run(half, retrieved=known(), num_inference_steps=1)
    assert woven.isfinite().all()
    assert not alike(woven, run(half, num_inference_steps=1))


def test_the_pipeline_is_left_as_it_was_when_a_call_fails(pipeline, known):
    before = run(pipeline, num_inference_steps=1)

    def fail(*_):
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        run(pipeline, retrieved=known(), callback_on_step_end=fail)
    assert not pipeline.transformer._forward_pre_hooks
    assert alike(run(pipeline, num_inference_steps=1), before)


def test_an_interrupted_call_stops_weaving(pipeline, known):
    calls = []

    def stop(pipeline, i, timestep, given):
        pipeline._interrupt = True
        return given

    hook = pipeline.controller.register_forward_hook(lambda *_: calls.append(1))
    try:
        run(
            pipeline,
            retrieved=known(),
            num_inference_steps=4,
            guidance_scale=1.0,
            callback_on_step_end=stop,
        )
    finally:
        hook.remove()
    assert len(calls) == 1
