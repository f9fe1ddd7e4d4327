import pytest
import torch
from diffusers.models.attention_processor import Attention, CogVideoXAttnProcessor2_0

from anchorweave.models.cross_anchor_attention import Arrangement, CrossAnchorAttnProcessor

B, N, L, S, D = 2, 3, 6, 4, 16


@pytest.fixture
def visible():
    visible = torch.rand(B, N, L, generator=torch.Generator().manual_seed(0)) > 0.5
    visible[0, 1] = False
    return visible


def attention():
    torch.manual_seed(0)
    return Attention(D, dim_head=8, heads=2, qk_norm="layer_norm", eps=1e-6, bias=True).eval()


def table():
    angle = torch.randn(L, 4, generator=torch.Generator().manual_seed(1))
    angle = angle.repeat_interleave(2, dim=1)
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("kind", ["joint", "separate"])
@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_what_is_arranged_comes_back(visible, kind, tokens):
    place = Arrangement(visible, kind, tokens)
    values = torch.randn(B, N, L, D)
    back = place.restore(place.arrange(values))
    kept = visible if tokens == "visible" else torch.ones_like(visible)
    assert torch.equal(back[kept], values[kept])
    longest = int((visible.flatten(1) if kind == "joint" else visible).sum(-1).max())
    width = {"joint": N * L, "separate": L}[kind] if tokens == "all" else longest
    assert place.arrange(values).shape == ({"joint": B, "separate": B * N}[kind], width, D)


def test_rows_of_one_length_need_no_mask(visible):
    assert Arrangement(visible, "joint", "all").mask(S) is None
    assert Arrangement(visible[:1], "joint", "visible").mask(S) is None
    assert Arrangement(visible, "separate", "visible").mask(S) is not None
    doubled = Arrangement(torch.cat([visible[:1]] * 2), "joint", "visible")
    assert doubled.mask(S) is None


def test_per_row_repeats_sample_by_sample(visible):
    values = torch.arange(B).float()
    assert Arrangement(visible, "joint").per_row(values).tolist() == [0, 1]
    assert Arrangement(visible, "separate").per_row(values).tolist() == [0, 0, 0, 1, 1, 1]


def test_equals_diffusers_attention_with_the_table_once_per_anchor(visible):
    module = attention()
    tokens, text = torch.randn(B, N, L, D), torch.randn(B, S, D)
    place = Arrangement(visible)
    module.set_processor(CrossAnchorAttnProcessor())
    ours = module(place.arrange(tokens), text, image_rotary_emb=place.rotary(table(), S))
    module.set_processor(CogVideoXAttnProcessor2_0())
    repeated = tuple(part.repeat(N, 1) for part in table())
    theirs = module(tokens.flatten(1, 2), text, image_rotary_emb=repeated)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["joint", "separate"])
def test_leaving_tokens_out_equals_masking_them(visible, kind):
    module = attention()
    module.set_processor(CrossAnchorAttnProcessor())
    tokens, text = torch.randn(B, N, L, D), torch.randn(B, S, D)
    short, whole = Arrangement(visible, kind, "visible"), Arrangement(visible, kind, "all")
    ours, ours_text = module(
        short.arrange(tokens),
        short.per_row(text),
        attention_mask=short.mask(S),
        image_rotary_emb=short.rotary(table(), S),
    )
    keys = visible.flatten(1) if kind == "joint" else visible.flatten(0, 1)
    keys = torch.cat([torch.ones(len(keys), S, dtype=torch.bool), keys], dim=1)
    slow, slow_text = module(
        whole.arrange(tokens),
        whole.per_row(text),
        attention_mask=keys[:, None, None],
        image_rotary_emb=whole.rotary(table(), S),
    )
    torch.testing.assert_close(short.restore(ours)[visible], whole.restore(slow)[visible])
    torch.testing.assert_close(ours_text, slow_text)
