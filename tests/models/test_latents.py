"""Between video and latents: value range, lengths, batches."""

from dataclasses import replace

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline

from anchorweave.anchors import Anchors, Preceding, References, Retrieved
from anchorweave.geometry.cameras import Cameras
from anchorweave.holes import HOLES, fill_holes
from anchorweave.models.backbones import codec_of
from anchorweave.models.codec.cogvideox import with_odd_frames
from anchorweave.models.latents import encode_preceding, encode_retrieved
from anchorweave.models.small.tiny import tiny_components
from tests.alike import alike

T, H, W = 5, 16, 32


@pytest.fixture(scope="module")
def parts():
    return tiny_components(seed=1, frames=T, size=(H, W))


@pytest.fixture(scope="module")
def vae(parts):
    return parts["vae"]


def video(*shape, seed=0):
    return torch.rand(*shape, 3, H, W, generator=torch.Generator().manual_seed(seed))


def retrieved(slots, seed=0, frames=T):
    poses = torch.eye(4).repeat(slots, frames, 1, 1)
    poses[..., :3, 3] = torch.rand(slots, frames, 3, generator=torch.Generator().manual_seed(seed))
    visible = torch.zeros(slots, frames, H, W, dtype=torch.bool)
    visible[..., : W // 2] = True
    return Retrieved(
        Anchors(video(slots, frames, seed=seed), visible, poses),
        References(
            torch.zeros(0, 3, H, W),
            Cameras(torch.zeros(0, 4, 4), torch.zeros(0, 3, 3), (H, W)),
            torch.zeros(0, 4, 4),
        ),
        torch.eye(4).repeat(frames, 1, 1),
    ).in_unit(1.0)


@torch.no_grad()
def test_encoding_is_the_vae_on_signed_pixels_times_its_scale(vae):
    frames = video(2, T)
    by_hand = vae.encode((2 * frames - 1).permute(0, 2, 1, 3, 4)).latent_dist.mode()
    latents = codec_of(vae).encode(frames)
    assert latents.shape == (2, 2, 16, H // 8, W // 8)
    torch.testing.assert_close(latents, vae.config.scaling_factor * by_hand.permute(0, 2, 1, 3, 4))


@torch.no_grad()
def test_a_generator_draws_from_the_posterior(vae):
    frames = video(1, T)
    one, same, other = (
        codec_of(vae).encode(frames, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert alike(one, same)
    assert not alike(one, other)
    assert not alike(one, codec_of(vae).encode(frames))


@torch.no_grad()
@pytest.mark.parametrize(("t", "frames"), [(1, 1), (2, 5), (3, 9), (4, 13)])
def test_decoding_gives_every_length_and_stays_in_range(vae, t, frames):
    latents = 30 * torch.randn(1, t, 16, 2, 4, generator=torch.Generator().manual_seed(0))
    decoded = codec_of(vae).decode(latents)
    assert decoded.shape == (1, frames, 3, 16, 32)
    assert decoded.min() >= 0 and decoded.max() <= 1
    signed = vae.decode((with_odd_frames(latents) / 0.7).permute(0, 2, 1, 3, 4)).sample
    expected = (signed.permute(0, 2, 1, 3, 4)[:, :frames] + 1) / 2
    torch.testing.assert_close(decoded, expected.clamp(0, 1))


@torch.no_grad()
@pytest.mark.parametrize("invert", [False, True])
def test_the_image_condition_is_diffusers_own(parts, vae, invert):
    pipeline = CogVideoXImageToVideoPipeline(
        **{name: part for name, part in parts.items() if name != "controller"}
    )
    was = vae.config.invert_scale_latents
    vae.register_to_config(invert_scale_latents=invert)
    try:
        image = video(2)
        _, theirs = pipeline.prepare_latents(
            2 * image - 1,
            batch_size=2,
            num_frames=T,
            height=H,
            width=W,
            dtype=torch.float32,
            device=torch.device("cpu"),
            generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)],
        )
        for i, seed in enumerate((3, 4)):
            ours = codec_of(vae).encode_first_frame(
                image[i : i + 1], T, generator=torch.Generator().manual_seed(seed)
            )
            torch.testing.assert_close(ours, theirs[i : i + 1])
    finally:
        vae.register_to_config(invert_scale_latents=was)


@torch.no_grad()
def test_rows_of_a_batch_of_retrieved_are_those_of_each_alone(vae):
    batch = [retrieved(2, seed=1), retrieved(2, seed=2)]
    together = encode_retrieved(codec_of(vae), batch, patch_size=2)
    assert together.latents.shape == (2, 2, 2, 16, H // 8, W // 8)
    assert together.visible_tokens.shape == (2, 2, 2, H // 16, W // 16)
    assert together.visible_tokens[..., 0].all() and not together.visible_tokens[..., 1].any()
    for i, one in enumerate(batch):
        alone = encode_retrieved(codec_of(vae), [one], patch_size=2)
        torch.testing.assert_close(together.latents[i], alone.latents[0])
        assert torch.equal(together.target2source[i], one.anchors.target2source)
        torch.testing.assert_close(
            together.latents[i, 1], codec_of(vae).encode(one.anchors.video[1:])[0]
        )


@torch.no_grad()
def test_short_samples_are_padded_and_black_is_encoded_once(vae, monkeypatch):
    encode, batches = vae.encode, []

    def counted(x):
        batches.append(len(x))
        return encode(x)

    monkeypatch.setattr(vae, "encode", counted)
    latents = encode_retrieved(
        codec_of(vae), [retrieved(3, seed=1), retrieved(1, seed=2)], patch_size=2
    )
    assert batches == [1, 1, 1, 1, 1]
    monkeypatch.undo()
    black = codec_of(vae).encode(torch.zeros(1, T, 3, H, W))[0]
    torch.testing.assert_close(latents.latents[1, 1], black)
    torch.testing.assert_close(latents.latents[1, 2], black)
    torch.testing.assert_close(
        latents.latents[1, 0], codec_of(vae).encode(retrieved(1, seed=2).anchors.video)[0]
    )
    assert not latents.visible_tokens[1, 1:].any()
    assert torch.equal(latents.target2source[1, 2], torch.eye(4).repeat(T, 1, 1))


@torch.no_grad()
def test_an_anchor_that_shows_nothing_shares_the_padding(vae, monkeypatch):
    taken = retrieved(3, seed=1)
    taken.anchors.video[1] = 0
    given = []
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda x: (given.append(x), encode(x))[1])
    latents = encode_retrieved(codec_of(vae), [taken, retrieved(2, seed=2)], patch_size=2).latents
    assert [len(x) for x in given] == [1] * 5 and not (given[0] + 1).any()
    monkeypatch.undo()
    torch.testing.assert_close(latents[0], codec_of(vae).encode(taken.anchors.video))
    assert torch.equal(latents[0, 1], latents[1, 2])


@torch.no_grad()
def test_anchors_are_not_copied_whole_to_be_encoded(vae, monkeypatch):
    """At 49x480x720 each copy of four anchors is 0.8 GB on the host."""
    taken = retrieved(3, seed=1)
    storage = taken.anchors.video.untyped_storage().data_ptr()
    given = []
    codec = codec_of(vae)
    encode = codec.encode
    monkeypatch.setattr(
        codec, "encode", lambda video, device: given.append(video) or encode(video, device)
    )
    encode_retrieved(codec, [taken], patch_size=2)
    assert [video.untyped_storage().data_ptr() for video in given] == [storage] * 3


@torch.no_grad()
@pytest.mark.parametrize("holes", HOLES)
def test_holes_are_filled_before_an_anchor_is_encoded(vae, holes):
    taken = retrieved(2, seed=1)
    video, visible = taken.anchors.video, taken.anchors.visible
    visible[0, :, 3:5, 6:20], visible[0, :, :, 24:] = False, False
    video.mul_(visible[:, :, None])
    latents = encode_retrieved(codec_of(vae), [taken], patch_size=2, holes=holes)
    filled = fill_holes(video, visible, holes)
    torch.testing.assert_close(latents.latents[0, :1], codec_of(vae).encode(filled[:1]))
    assert torch.equal(
        latents.visible_tokens,
        encode_retrieved(codec_of(vae), [taken], patch_size=2).visible_tokens,
    )
    with pytest.raises(ValueError, match="holes is one of"):
        encode_retrieved(codec_of(vae), [taken], patch_size=2, holes="grey")


def test_no_anchor_at_all_keeps_its_axes(vae):
    latents = encode_retrieved(codec_of(vae), [retrieved(0), retrieved(0)], patch_size=2)
    assert latents.latents.shape == (2, 0, 2, 16, H // 8, W // 8)
    assert latents.visible_tokens.shape == (2, 0, 2, H // 16, W // 16)
    assert latents.target2first.shape == (2, T, 4, 4)


@torch.no_grad()
def test_the_released_rule_for_the_first_frame_reaches_the_tokens(vae):
    seen = encode_retrieved(codec_of(vae), [retrieved(1)], patch_size=2)
    always = encode_retrieved(codec_of(vae), [retrieved(1)], patch_size=2, first_frame="always")
    assert not seen.visible_tokens[:, :, 0].all()
    assert always.visible_tokens[:, :, 0].all()
    assert torch.equal(seen.visible_tokens[:, :, 1:], always.visible_tokens[:, :, 1:])


def test_the_dtype_and_place_of_the_vae_are_taken():
    elsewhere = tiny_components(frames=T, size=(H, W))["vae"].to("meta", torch.bfloat16)
    latents = encode_retrieved(codec_of(elsewhere), [retrieved(2)], patch_size=2)
    assert latents.latents.device.type == "meta" and latents.latents.dtype == torch.bfloat16
    assert latents.visible_tokens.device.type == "meta"
    assert latents.target2first.device.type == "meta"
    assert codec_of(elsewhere).decode(latents.latents[:, 0]).device.type == "meta"


def test_lengths_and_sizes(vae):
    assert codec_of(vae).shape(49, (480, 720), 2) == (13, 60, 90)
    assert codec_of(vae).shape(1, (16, 32), 2) == (1, 2, 4)


@pytest.mark.parametrize(
    ("frames", "size", "named"),
    [
        (0, (64, 96), "1 and 5"),
        (24, (64, 96), "21 and 25"),
        (25, (60, 96), "64x96"),
        (25, (64, 100), "64x96"),
        (25, (0, 96), "16x96"),
    ],
)
def test_lengths_and_sizes_that_do_not_fit_name_the_nearest(vae, frames, size, named):
    with pytest.raises(ValueError, match=named):
        codec_of(vae).shape(frames, size, 2)


@pytest.mark.parametrize("value", [-1.0, 1.01, 255.0, float("nan"), float("inf")])
def test_pixels_of_another_range_are_refused(vae, value):
    frames = video(1, T)
    frames[0, 2, 1, 3, 4] = value
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        codec_of(vae).encode(frames)


def test_retrieved_of_different_shape_or_none_are_refused(vae):
    with pytest.raises(ValueError, match="share"):
        encode_retrieved(codec_of(vae), [retrieved(1), retrieved(1, frames=9)], patch_size=2)
    with pytest.raises(ValueError, match="no samples"):
        encode_retrieved(codec_of(vae), [], patch_size=2)


@torch.no_grad()
def test_preceding_frames_are_one_clip(vae):
    codec = codec_of(vae)

    def known(slots, seed, frames=T):
        ahead = retrieved(slots, seed, frames)
        frames = video(frames, seed=seed)
        return replace(
            retrieved(2), preceding=Preceding(frames, ahead.anchors, ahead.target2first + seed)
        )

    both = [known(2, 3), known(2, 4)]
    found = encode_preceding(codec, both, 2, holes="filled")
    for b, one in enumerate(both):
        ahead = one.preceding
        assert alike(found.latents[b], codec.encode(ahead.frames[None])[0])
        filled = fill_holes(ahead.anchors.video[1], ahead.anchors.visible[1], "filled")
        assert alike(found.anchors.latents[b, 1], codec.encode(filled[None])[0])
        assert torch.equal(found.anchors.target2first[b], ahead.preceding2first)
    assert found.anchors.visible_tokens.shape == found.anchors.coverage.shape == (2, 2, 2, 1, 2)
    # As many slots as the target has.
    assert encode_preceding(codec, [known(1, 3)], 2).anchors.latents.shape[1] == 2
    assert encode_preceding(codec, [retrieved(2)], 2) is None
    for other in (retrieved(2), known(2, 3, frames=1)):
        with pytest.raises(ValueError, match=r"\[5, [01]\] preceding frames.*in a separate batch"):
            encode_preceding(codec, [known(2, 3), other], 2)
    with pytest.raises(ValueError, match="4 frames do not fit the VAE"):
        encode_preceding(codec, [known(2, 3, frames=4)], 2)
