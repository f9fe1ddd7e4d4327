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


def restore(place, tokens):
    """Slowly back to [B, N, L, D]; where a token was left out, zeros."""
    if place.index is None:
        return tokens.reshape(B, N, L, D)
    whole = tokens.new_zeros(place.rows, place.width, D)
    for row in range(place.rows):
        for i, number in enumerate(place.index[row]):
            whole[row, number] = tokens[row, i]
    return whole.reshape(B, N, L, D)


@pytest.mark.parametrize("kind", ["joint", "separate"])
@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_what_is_arranged_lies_where_it_is_said(visible, kind, tokens):
    place = Arrangement(visible, kind, tokens)
    values = torch.randn(B, N, L, D)
    back = restore(place, place.arrange(values))
    kept = visible if tokens == "visible" else torch.ones_like(visible)
    assert torch.equal(back[kept], values[kept])
    longest = int((visible.flatten(1) if kind == "joint" else visible).sum(-1).max())
    width = {"joint": N * L, "separate": L}[kind] if tokens == "all" else longest
    assert place.arrange(values).shape == ({"joint": B, "separate": B * N}[kind], width, D)


@pytest.mark.parametrize("kind", ["joint", "separate"])
@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_video_tokens_are_spread_to_every_anchor(visible, kind, tokens):
    place, values = Arrangement(visible, kind, tokens), torch.randn(B, L, D)
    repeated = values[:, None].repeat(1, N, 1, 1)
    assert torch.equal(place.spread(values), place.arrange(repeated))


@pytest.mark.parametrize("kind", ["joint", "separate"])
@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_fused_is_the_weighted_sum_of_what_came_back(visible, kind, tokens):
    place = Arrangement(visible, kind, tokens)
    weights = (torch.rand(B, N, L) * visible).requires_grad_()
    values = place.arrange(torch.randn(B, N, L, D)).requires_grad_()
    fused = place.fuse(values, weights)
    slow = torch.einsum("bnld,bnl->bld", restore(place, values), weights)
    torch.testing.assert_close(fused, slow)
    ahead = torch.randn(B, L, D)
    for ours, theirs in zip(
        torch.autograd.grad(fused, (values, weights), ahead),
        torch.autograd.grad(slow, (values, weights), ahead),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_without_any_visible_token_or_anchor_nothing_is_fused():
    for shown in (torch.zeros(B, N, L, dtype=torch.bool), torch.zeros(B, 0, L, dtype=torch.bool)):
        place = Arrangement(shown, "joint", "visible")
        values = place.arrange(torch.randn(*shown.shape, D)).requires_grad_()
        fused = place.fuse(values, shown.float().requires_grad_())
        assert torch.equal(fused, torch.zeros(B, L, D))
        fused.sum().backward()


def test_rows_of_one_length_are_one_call(visible):
    assert Arrangement(visible, "joint", "all").lengths is None
    assert Arrangement(visible[:1], "joint", "visible").lengths is None
    counts = visible.flatten(0, 1).sum(1).tolist()
    assert Arrangement(visible, "separate", "visible").lengths == tuple(counts)
    doubled = Arrangement(torch.cat([visible[:1]] * 2), "joint", "visible")
    assert doubled.lengths is None


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
        lengths=short.lengths,
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
    torch.testing.assert_close(restore(short, ours)[visible], restore(whole, slow)[visible])
    torch.testing.assert_close(ours_text, slow_text)
