import numpy as np
import pytest
import torch

from anchorweave.datasets.layout import BadClip, write_quarantine
from anchorweave.datasets.mixture import open_clips
from anchorweave.datasets.released_layout import SLOTS, ReleasedClips
from anchorweave.models.weaving.visible_tokens import visible_tokens

T, H, W = 9, 32, 64


def write_released(root, names=("DL3DV-10K_ab_0", "RealEstate10K_cd"), features=(5, 8)):
    """A data set as the released code expects it, with its shapes but for sizes."""
    g = torch.Generator().manual_seed(0)
    root.mkdir()
    (root / "train.txt").write_text("\n".join(names) + "\n\n")
    for name in names:
        parts = ("latents_cogvideox", "masks", "relative_cameras", "caption_embs_cogvideox")
        for part in parts:
            (root / name / part).mkdir(parents=True)
        for video in ("GT", *SLOTS):
            latents = torch.randn(1, 16, 3, H // 8, W // 8, generator=g).bfloat16()
            torch.save(latents, root / name / "latents_cogvideox" / f"{video}.pt")
        for slot in SLOTS:
            mask = (torch.rand(T, H, W, generator=g) > 0.5).numpy()
            np.savez(root / name / "masks" / f"{slot}_mask.npz", mask=mask)
            pose = torch.randn(T, 3, 4, generator=g).numpy()
            np.savez(root / name / "relative_cameras" / f"{slot}.npz", pose=pose)
        caption = torch.randn(1, *features, generator=g)
        torch.save(caption, root / name / "caption_embs_cogvideox" / "caption.pt")
    return root


@pytest.fixture
def root(tmp_path):
    return write_released(tmp_path / "released")


def test_a_clip_is_what_the_files_hold(root):
    clips = open_clips(root)
    assert isinstance(clips, ReleasedClips) and len(clips) == 2
    clip, folder = clips[1], root / "RealEstate10K_cd"
    stored = torch.load(folder / "latents_cogvideox/GT.pt", weights_only=True)
    assert torch.equal(clip.latents, stored[0].permute(1, 0, 2, 3).float())
    assert torch.equal(clip.image_latents, clip.latents[:1])
    third = torch.load(folder / "latents_cogvideox/retrieval_2.pt", weights_only=True)
    assert torch.equal(clip.anchor_latents[2], third[0].permute(1, 0, 2, 3).float())
    assert clip.prompt_features.shape == (5, 8)
    first = np.load(folder / "relative_cameras/1st_frame.npz")["pose"]
    assert torch.equal(clip.target2first[:, :3], torch.from_numpy(first))
    assert torch.equal(clip.target2source[0], clip.target2first)
    assert (clip.target2source[:, :, 3] == torch.tensor([0.0, 0, 0, 1])).all()


def test_who_weaves_nothing_needs_no_anchor_files(root):
    whole = open_clips(root)[0]
    for file in (root / "DL3DV-10K_ab_0").glob("*/retrieval_*"):
        file.unlink()
    clip = open_clips(root, memory=None)[0]
    assert torch.equal(clip.latents, whole.latents)
    assert torch.equal(clip.target2first, whole.target2first)
    assert clip.anchor_latents.shape == (0, *whole.latents.shape)
    assert clip.target2source.shape == (0, T, 4, 4)
    assert clip.visible_tokens.shape == (0, *whole.visible_tokens.shape[1:])
    assert clip.visible_tokens.dtype == torch.bool


def test_visible_tokens_follow_the_rule_that_ours_follow_with_first_frame_always(root):
    for slot, tokens in zip(SLOTS, ReleasedClips(root)[0].visible_tokens, strict=True):
        mask = np.load(root / "DL3DV-10K_ab_0" / "masks" / f"{slot}_mask.npz")["mask"]
        ours = visible_tokens(torch.from_numpy(mask), 16, 4, "always")
        assert torch.equal(tokens, ours) and tokens[0].all() and not tokens.all()


def test_frames_beyond_those_of_the_latents_are_spread_evenly(root):
    file = root / "DL3DV-10K_ab_0" / "relative_cameras" / "1st_frame.npz"
    pose = np.zeros((17, 3, 4), np.float32)
    pose[:, 0, 3] = np.arange(17)
    np.savez(file, pose=pose)
    assert ReleasedClips(root)[0].target2first[:, 0, 3].tolist() == list(range(0, 17, 2))


def nan_latents(clip):
    latents = torch.zeros(1, 16, 3, 4, 8)
    latents[0, 0, 0, 0, 0] = float("nan")
    torch.save(latents, clip / "latents_cogvideox/retrieval_1.pt")


class Code:
    """What `weights_only` must never unpickle."""


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda c: (c / "latents_cogvideox/GT.pt").unlink(), "GT.pt is missing"),
        (
            lambda c: (c / "latents_cogvideox/GT.pt").write_bytes(
                (c / "latents_cogvideox/GT.pt").read_bytes()[:900]
            ),
            "GT.pt cannot be read",
        ),
        (nan_latents, "retrieval_1.pt has values that are not finite"),
        (lambda c: torch.save(Code(), c / "latents_cogvideox/GT.pt"), "GT.pt cannot be read"),
        (lambda c: torch.save({}, c / "latents_cogvideox/GT.pt"), "holds a dict"),
        (lambda c: torch.save(torch.zeros(3), c / "latents_cogvideox/GT.pt"), r"is \(3,\)"),
        (
            lambda c: torch.save(
                torch.zeros(1, 16, 2, 4, 8), c / "latents_cogvideox/retrieval_3.pt"
            ),
            "anchors differ in shape",
        ),
        (
            lambda c: np.savez(c / "relative_cameras/1st_frame.npz", pose=np.zeros((4, 3, 4))),
            "has 4 frames, the latents represent 9",
        ),
        (
            lambda c: np.savez(c / "masks/1st_frame_mask.npz", mask=np.zeros((T, 33, 64))),
            "does not divide into",
        ),
        (
            lambda c: np.savez(c / "masks/1st_frame_mask.npz", masks=np.zeros((T, 32, 64))),
            "1st_frame_mask.npz cannot be read",
        ),
    ],
)
def test_damage_is_a_bad_clip_that_names_the_file(root, damage, message):
    damage(root / "DL3DV-10K_ab_0")
    clips = ReleasedClips(root)
    with pytest.raises(BadClip, match=message) as caught:
        clips[0]
    assert caught.value.path == root / "DL3DV-10K_ab_0"
    assert clips[1].latents.shape == (3, 16, 4, 8)


def test_no_clips_says_why(root):
    with pytest.raises(ValueError, match="0 clips, because the list test.txt is missing"):
        ReleasedClips(root, split="test")
    write_quarantine(root, {"DL3DV-10K_ab_0": "blurred"})
    assert ReleasedClips(root).quarantined == {"DL3DV-10K_ab_0": "blurred"}
    (root / "train.txt").write_text("DL3DV-10K_ab_0\n")
    with pytest.raises(
        ValueError, match="0 clips; train.txt lists 1, of which 1 are in quarantine"
    ):
        ReleasedClips(root)
