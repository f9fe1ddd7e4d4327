"""What every family of backbones keeps, whatever its kind."""

import pytest
import torch

from anchorweave.models.backbones import codec_of, families, family_named, family_of
from anchorweave.models.families import FAMILIES
from anchorweave.models.small.tiny import tiny_components
from anchorweave.models.small.tiny_wan import tiny_wan_components
from anchorweave.pipelines import WeavingMixin, pipeline_of
from tests.alike import alike
from tests.models.small import SMALL, S, h, small_backbone, small_call, small_image, t, w

TINY = {"cogvideox": tiny_components, "wan": tiny_wan_components}


def test_every_line_of_the_registry_names_a_family_and_its_pipeline():
    # Of each family these tests need a small backbone and a tiny model.
    assert FAMILIES.keys() == SMALL.keys() == TINY.keys()
    for name, family in families().items():
        assert family.name == name and family is families()[name]
        kind = pipeline_of(name)
        assert issubclass(kind, WeavingMixin) and kind.__name__ == family.pipeline


@pytest.fixture(params=SMALL)
def backbone(request):
    return small_backbone(family=request.param)


def test_a_backbone_finds_its_family(backbone):
    family = family_of(backbone)
    assert family_named(type(backbone).__name__) is family
    sizes = family.sizes(backbone)
    assert sizes == family.sizes_of(dict(backbone.config))
    assert (sizes.num_layers, sizes.latent_channels, sizes.text_dim) == (3, 4, 12)
    assert (sizes.latent_size, sizes.text_tokens) == ((h, w), S)
    assert len(family.blocks(backbone)) == sizes.num_layers
    family.check_image_to_video(backbone, sizes.latent_channels)
    with pytest.raises(ValueError, match="image-to-video"):
        family.check_image_to_video(backbone, sizes.latent_channels + 1)


@torch.no_grad()
def test_what_is_predicted_with_is_read_from_the_call(backbone):
    family, call, image, said = family_of(backbone), small_call(backbone, B=2), small_image(2), []
    hook = backbone.register_forward_pre_hook(
        lambda module, args, kwargs: said.append(family.read_call(module, args, kwargs)),
        with_kwargs=True,
    )
    given = [call[name] for name in ("prompt_features", "timestep", "positions")]
    predicted = family.predict(backbone, call["noisy_latents"], image, *given)
    hook.remove()
    assert predicted.shape == (2, t, 4, h, w) and predicted.isfinite().all()
    assert torch.equal(said[0].timestep, call["timestep"])
    assert torch.equal(said[0].text, call["prompt_features"])
    # A family that puts the clean image in the place of frame 0 shows it there.
    assert torch.equal(said[0].latents[:, 1:], call["noisy_latents"][:, 1:])
    assert not alike(
        family.predict(backbone, call["noisy_latents"], small_image(2, seed=9), *given), predicted
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_form_is_that_of_the_networks(family):
    parts = TINY[family](frames=5, size=(32, 64))
    form, codec = FAMILIES[family].form, codec_of(parts["vae"])
    published = families()[family].sizes_of(families()[family].published[1])
    assert form.frame_step == codec.in_time == published.temporal_compression
    assert form.size_step == codec.in_space * published.patch_size
    form.check(form.frame_step + 1, (form.size_step, 3 * form.size_step))
    with pytest.raises(ValueError, match="frames=1 do not fit"):
        form.check(1, (form.size_step, form.size_step))
    with pytest.raises(ValueError, match="must be divisible by"):
        form.check(form.frame_step + 1, (form.size_step, form.size_step + 1))


def test_what_is_of_no_family_is_refused_by_name():
    with pytest.raises(ValueError, match="Linear is not a backbone of a known family"):
        family_of(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="Linear is not an autoencoder of a known family"):
        codec_of(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="Other is not a backbone.*CogVideoXTransformer3DModel"):
        family_named("Other")
