"""Properties of single generators, beyond the contract of all."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, distributions, nn
from torch.nn import functional

from pipeline.classifiers.base import plain
from pipeline.classifiers.cnn import CNN, CNNConfig
from pipeline.classifiers.discriminator_cnn import DiscriminatorCNN
from pipeline.config.validation import Member, member_config, parse_yaml
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators import GENERATORS
from pipeline.generators.autoencoder import Autoencoder
from pipeline.generators.base import Generator, GeneratorConfig, create
from pipeline.generators.cvae import CVAE, TRAVERSAL_RANGE, divergence
from pipeline.generators.diffusion import FIRST_TIME, schedule
from pipeline.generators.fit import fit
from pipeline.generators.gan.base import cross_entropy
from pipeline.generators.gan.began import BEGAN
from pipeline.generators.gan.blocks import (
    ConvolutionalDiscriminator,
    ConvolutionalGeneratorNet,
    DiscriminatorConfig,
    GeneratorNetConfig,
    MinibatchDiscrimination,
    resized,
)
from pipeline.generators.gan.lapgan import LAPGAN, flattened, pyramid_shapes, unflattened
from pipeline.generators.gan.mlp_gan import MLPGAN
from pipeline.generators.gan.plain_dcgan import PlainDCGAN
from pipeline.generators.gan.srgan import SRGAN, psnr
from pipeline.generators.gan.wgan import WGAN, WGANGP
from pipeline.generators.sampling import sample_classes
from pipeline.generators.showcase import interpolation, showcase
from pipeline.nn.checkpoint import History
from pipeline.nn.layers import conv_state_dict, convolutions
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import ParamsError

DIGITS = ImageSpec(1, 28, 28, 10)
BARS = ImageSpec(1, 8, 8, 3)
QUICK = ("autoencoder", "dcgan")  # tried in every run, the others by `make proofs`
LABELS = torch.arange(15) % 3
Calls = list[tuple[tuple[Tensor, ...], Tensor]]
# A fit that changes next to nothing.
BRIEF: Member = {
    "steps": 2,
    "batch_size": 4,
    "learning_rate": 1e-9,
    "weight_decay": 0.0,
    "channels": 16,
    "features": 8,
    "dropout": 0.0,
}


def count(network: nn.Module, trained: bool = False) -> int:
    """Numbers in a network, running statistics of norms among them unless only `trained`."""
    numbers = list(network.parameters())
    if not trained:
        numbers += [each for key, each in network.named_buffers() if "num_batches" not in key]
    return sum(each.numel() for each in numbers)


def built(
    name: str,
    family: type[Generator],
    sections: dict[str, Member],
    spec: ImageSpec = BARS,
    **changes: object,
) -> Any:
    config = family.Config.model_validate({**sections[name], **changes})
    return create(family, config, spec, 0)


def test_the_textbooks_networks_have_their_number_of_weights() -> None:
    generator_net = ConvolutionalGeneratorNet(
        GeneratorNetConfig(channels=[256, 128, 64], label_dim=0, upsample=False, dropout=0.0),
        100,
        DIGITS,
    )
    discriminator = ConvolutionalDiscriminator(
        DiscriminatorConfig(channels=[64, 128], dropout=0.3, minibatch_kernels=0), DIGITS
    )
    assert count(generator_net) == 2_343_681
    assert count(generator_net, trained=True) == 2_318_209
    assert count(discriminator) - count(discriminator.embed) == 212_865  # theirs is unconditional


def test_dense_networks_have_the_textbooks_layers(whole_sections: dict[str, Member]) -> None:
    gan = built("mlp_gan", MLPGAN, whole_sections, DIGITS)
    widths = {
        name: [each.out_features for each in network.modules() if isinstance(each, nn.Linear)]
        for name, network in gan.networks.items()
    }
    assert widths == {"sampler": [256, 512, 1024, 784], "critic": [512, 256, 1]}
    assert gan.noise_dim == 100


def test_upsampling_and_transposed_convolutions_give_the_same_sizes() -> None:
    for upsample in (False, True):
        config = GeneratorNetConfig(channels=[8, 8, 4], label_dim=2, upsample=upsample, dropout=0.5)
        for spec in (DIGITS, BARS, ImageSpec(3, 15, 10, 4)):
            network = ConvolutionalGeneratorNet(config, 5, spec)
            images = network(torch.randn(2, 5), torch.tensor([0, 1]))
            assert images.shape == (2, spec.channels, spec.height, spec.width)


def test_a_smoothed_target_has_its_minimum_at_its_logit() -> None:
    logit = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
    cross_entropy(logit, 0.9).backward()
    assert abs(float(logit.grad)) < 1e-6
    sure = torch.tensor([5.0])
    assert cross_entropy(sure, 0.9) > cross_entropy(sure, 1.0)


def test_minibatch_discrimination_detects_a_batch_of_copies() -> None:
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(6, kernels=4)
    varied = torch.randn(8, 6)
    copies = varied[:1].expand(8, 6)
    assert torch.allclose(layer(copies), torch.full((8, 4), 7.0))
    assert (layer(varied) < layer(copies)).all()
    assert MinibatchDiscrimination(6, kernels=0)(varied).shape == (8, 0)


def test_uniform_noise_is_uniform_and_normal_noise_normal(sections: dict[str, Member]) -> None:
    seeds = list(range(400))
    uniform = built("plain_dcgan", PlainDCGAN, sections, noise="uniform").noise(seeds)
    normal = built("plain_dcgan", PlainDCGAN, sections, noise="normal").noise(seeds)
    assert uniform.abs().max() <= 1
    assert abs(float(uniform.std()) - 1 / math.sqrt(3)) < 0.03
    assert abs(float(normal.std()) - 1) < 0.03


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("acgan", {"mismatch": 0.5}, r"mismatch: expected 0, .*found 0\.5"),
        ("acgan", {"code_dim": 2}, r"code_weight: expected more than 0 with code_dim 2, found 0"),
        ("acgan", {"code_weight": 0.1}, r"code_weight: expected 0 with code_dim 0, found 0\.1"),
        ("wgan", {"momentum": 0.5}, r"momentum: expected 0 with rmsprop, found 0\.5"),
    ],
)
def test_settings_without_effect_are_refused(
    name: str, changes: Member, match: str, sections: dict[str, Member]
) -> None:
    with pytest.raises(ValidationError, match=match):
        GENERATORS[name].Config.model_validate({**sections[name], **changes})


def test_the_penalty_refuses_a_discriminator_that_compares_images(
    sections: dict[str, Member],
) -> None:
    discriminator = sections["wgan_gp"]["discriminator"] | {"minibatch_kernels": 5}
    with pytest.raises(ValidationError, match=r"minibatch_kernels: expected 0, .*found 5"):
        WGANGP.Config.model_validate({**sections["wgan_gp"], "discriminator": discriminator})


@pytest.mark.parametrize("half", ["plain_dcgan", "cvae", "began"])
def test_noise_of_half_is_set_in_only_one_place(half: str, sections: dict[str, Member]) -> None:
    section = {**sections["srgan"], "noise": "uniform", "half": following(half, sections)}
    with pytest.raises(ValidationError, match=r"noise: expected normal, .*found uniform"):
        SRGAN.Config.model_validate(section)
    section["half"].pop("noise", None)
    if half != "cvae":
        assert SRGAN.Config.model_validate(section).smaller()[1].noise == "uniform"


def test_clipped_weights_stay_within_their_bound(
    sections: dict[str, Member], few_bars: LabeledImages, tmp_path: Path
) -> None:
    gan = built("wgan", WGAN, sections, clip=0.02)
    with deterministic():
        fit(gan, few_bars, 0, tmp_path)
    largest = max(float(each.detach().abs().max()) for each in gan.networks["critic"].parameters())
    assert largest <= 0.02 + 1e-9


def test_the_gradient_penalty_is_that_of_a_discriminator_whose_slope_is_known(
    sections: dict[str, Member],
) -> None:
    gan = built("wgan_gp", WGANGP, sections, gradient_penalty=10.0)

    class Slope(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return 3 * x.flatten(1)[:, 0]

    gan.discriminator = Slope()
    images = torch.randn(4, 1, 8, 8)
    found = gan.extra_losses(images, torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.long))
    assert float(found["penalty"]) == pytest.approx(10 * (3 - 1) ** 2)


@pytest.mark.parametrize(
    ("name", "mismatch", "expected"),
    [
        ("plain_dcgan", 0.0, {"accuracy"}),
        ("plain_dcgan", 0.5, {"accuracy", "mismatch"}),
        ("wgan_gp", 0.0, {"accuracy", "penalty"}),
        ("wgan_gp", 0.5, {"accuracy", "penalty", "mismatch"}),
        ("began", 0.5, {"k", "convergence", "mismatch"}),
        ("acgan", 0.0, {"accuracy"}),
    ],
)
def test_the_history_has_the_further_terms_of_the_discriminators_loss(
    name: str, mismatch: float, expected: set[str], sections: dict[str, Member]
) -> None:
    gan = built(name, GENERATORS[name], sections, mismatch=mismatch)
    losses = gan.update(images(), LABELS)
    assert set(losses) == {"generator", "discriminator"} | expected


def test_k_follows_the_imbalance_after_an_update_of_the_discriminator(
    sections: dict[str, Member],
) -> None:
    gan = built("began", BEGAN, sections, gamma=0.7, control=0.1)
    gan.discriminator.k.fill_(0.5)
    real, fake, z = torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.4]), torch.zeros(2, 1)
    assert float(gan.discriminator_loss(real, fake, z[:, 0], z)) == pytest.approx(0.5 - 0.5 * 0.3)
    assert float(gan.mismatch_loss(fake, real)) == pytest.approx(-0.5 * 0.3)
    gan.after_step()
    found = {name: float(value) for name, value in gan.diagnostics(real, fake).items()}
    off = 0.7 * 0.5 - 0.3
    assert found == pytest.approx({"k": 0.5 + 0.1 * off, "convergence": 0.5 + off})
    gan.discriminator_loss(fake, 100 * real, z[:, 0], z)
    gan.after_step()
    assert gan.discriminator.k == 0
    assert float(gan.diagnostics(real, fake)["convergence"]) == pytest.approx(0.3 + 50 - 0.7 * 0.3)


def test_the_divergence_is_that_of_the_two_normals(
    sections: dict[str, Member], few_bars: LabeledImages
) -> None:
    model = built("cvae", CVAE, sections)
    mean, log_variance = torch.randn(6, 4), torch.randn(6, 4)
    expected = distributions.kl_divergence(
        distributions.Normal(mean, (log_variance / 2).exp()), distributions.Normal(0.0, 1.0)
    )
    assert float(divergence(mean, log_variance)) == pytest.approx(
        float(expected.sum() / 6), rel=1e-5
    )
    assert model.noise_dim == sections["cvae"]["latent_dim"]


@pytest.fixture(scope="module")
def autoencoder(
    sections: dict[str, Member], bars: LabeledImages, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Autoencoder, History]:
    """An autoencoder after 300 steps, and its history."""
    model = built("autoencoder", Autoencoder, sections, steps=300)
    with deterministic():
        return model, fit(model, bars, 0, tmp_path_factory.mktemp("autoencoder"))


def test_every_class_has_its_own_distribution_of_codes(
    autoencoder: tuple[Autoencoder, History],
) -> None:
    generator_net = autoencoder[0].generator_net
    assert len({tuple(row.tolist()) for row in generator_net.mean}) == 3
    for cholesky in generator_net.spread:
        assert torch.equal(cholesky, cholesky.tril())
        assert (cholesky.diagonal() > 0).all()


def test_snapshots_of_codes_obey_their_labels(
    autoencoder: tuple[Autoencoder, History], bars: LabeledImages
) -> None:
    obey_labels(autoencoder[1], bars, (200, 250, 300))


@pytest.mark.proof
def test_snapshots_of_a_doubled_autoencoder_obey_their_labels(
    sections: dict[str, Member], bars: LabeledImages, tmp_path: Path
) -> None:
    half = following("autoencoder", sections)
    model = built("srgan", SRGAN, sections, steps=240, half=half)
    with deterministic():
        obey_labels(fit(model, bars, 0, tmp_path), bars, (160, 200, 240))


def obey_labels(history: History, bars: LabeledImages, steps: tuple[int, ...]) -> None:
    judge = KNeighborsClassifier(3).fit(bars.images.reshape(180, -1), bars.labels)
    for step in steps:
        images = history.snapshots[step].reshape(24, -1)
        assert judge.score(images, np.repeat([0, 1, 2], 8)) > 0.7


def test_an_autoencoder_reconstructs_images_better_than_their_mean(
    autoencoder: tuple[Autoencoder, History], bars: LabeledImages
) -> None:
    images = torch.from_numpy(bars.images).float() / 127.5 - 1
    with torch.no_grad():
        reconstructed = autoencoder[0].reconstruct(images)
    error = functional.mse_loss(reconstructed, images)
    assert error < 0.5 * functional.mse_loss(images.mean(0, keepdim=True).expand_as(images), images)


def test_a_pyramid_is_its_parts_and_its_true_details_give_the_image_back(
    sections: dict[str, Member],
) -> None:
    spec = ImageSpec(2, 9, 12, 3)
    gan = built("lapgan", LAPGAN, sections, spec)
    real = torch.rand(4, 2, 9, 12) * 2 - 1
    parts = unflattened(gan.preprocess(real), pyramid_shapes(spec))
    assert [tuple(part.shape[1:]) for part in parts] == pyramid_shapes(spec)
    assert torch.equal(parts[-2], real)
    assert torch.allclose(parts[2], resized(parts[0], parts[1].shape[2:]))
    assert torch.equal(flattened(parts[::2][:1] + parts[1::2], parts[2::2]), gan.preprocess(real))


@pytest.mark.parametrize(
    "name",
    [
        each if each in QUICK else pytest.param(each, marks=pytest.mark.proof)
        for each in sorted(GENERATORS.keys() - {"srgan"})
    ],
)
def test_doubling_follows_every_family_of_half_the_size(
    name: str, sections: dict[str, Member], bars: LabeledImages, tmp_path: Path
) -> None:
    half = following(name, sections)
    gan = built("srgan", SRGAN, sections, replace(BARS, height=28, width=28), steps=4, half=half)
    larger = np.kron(bars.images, np.ones((4, 4), np.uint8))[:, :, 2:30, 2:30]
    with deterministic():
        fit(gan, LabeledImages(larger, bars.labels), 0, tmp_path)
    untrained = create(GENERATORS[name], gan.smaller.config, gan.smaller.spec, 0)
    assert type(gan.smaller) is GENERATORS[name]
    assert gan.noise_dim == untrained.noise_dim
    assert sample_classes(gan, 2, 0).images.shape == (6, 1, 28, 28)
    before = untrained.generator_net.state_dict()
    after = gan.smaller.generator_net.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in after.items())


def following(name: str, sections: dict[str, Member]) -> Member:
    """The settings of a generator of half the size."""
    of_fit = GeneratorConfig.model_fields
    return {"family": name, **{k: v for k, v in sections[name].items() if k not in of_fit}}


@pytest.mark.parametrize("key", sorted(GeneratorConfig.model_fields))
def test_settings_of_the_fit_are_refused_for_half_the_size(
    key: str, sections: dict[str, Member]
) -> None:
    half = {**following("cvae", sections), key: sections["cvae"][key]}
    with pytest.raises(ParamsError, match=rf"generators.mine: half: expected .*, found {key}"):
        member_config(SRGAN.Config, {**sections["srgan"], "half": half}, "generators.mine")


def test_half_has_its_familys_defaults_and_the_fit_of_the_whole() -> None:
    config = SRGAN.Config.model_validate(
        {"steps": 7, "half": {"family": "wgan_gp", "discriminator_steps": 2}}
    )
    family, half = config.smaller()
    assert family is WGANGP
    assert half == WGANGP.Config(steps=7, batch_size=64, ema_decay=0.995, discriminator_steps=2)
    assert SRGAN.losses(config) == {"": "wasserstein", "doubling": "cross-entropy"}


@pytest.mark.parametrize(
    ("half", "place"),
    [
        ({"family": "srgan"}, "half.family: expected one of acgan, "),
        ({"family": ["cvae"]}, "half.family: expected one of acgan, "),
        ({"family": "cvae", "beta": -1.0}, "half.beta: "),
    ],
)
def test_a_wrong_generator_of_half_the_size_is_refused_with_all_other_problems(
    half: Member, place: str, sections: dict[str, Member]
) -> None:
    section = {**sections["srgan"], "half": half, "double_channels": 0}
    with pytest.raises(ParamsError) as error:
        member_config(SRGAN.Config, section, "generators.mine")
    assert str(error.value).startswith("params.yaml: generators.mine: ")
    assert place in str(error.value)
    assert "double_channels: " in str(error.value)


def test_half_without_a_family_is_a_plain_dcgan() -> None:
    generator = {"channels": [16, 16, 8]}
    named, unnamed = (
        SRGAN.Config.model_validate({"half": {**family, "generator": generator}}).smaller()
        for family in ({"family": "plain_dcgan"}, {})
    )
    assert named == unnamed
    assert unnamed[0] is PlainDCGAN
    assert unnamed[1].generator.channels == [16, 16, 8]


def test_the_half_of_the_shipped_zoo_stays_as_it_is(root: Path) -> None:
    preset = parse_yaml((root / "presets/zoo.yaml").read_text("utf-8"), "zoo")
    section = {
        key: value for key, value in preset["generators"]["srgan"].items() if key != "inputs"
    }
    family, half = SRGAN.Config.model_validate(section).smaller()
    assert family is PlainDCGAN
    generator = {"channels": [128, 64, 32]}
    shared = {key: getattr(SRGAN.Config(), key) for key in GeneratorConfig.model_fields}
    latent_dim = SRGAN.Config().latent_dim
    assert half == PlainDCGAN.Config(**shared, latent_dim=latent_dim, generator=generator)


@pytest.mark.proof
def test_doubling_beats_bicubic_on_held_out_images(
    sections: dict[str, Member], bars: LabeledImages, tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(len(bars))
    gan = built("srgan", SRGAN, sections, steps=200)
    with deterministic():
        fit(gan, bars.take(order[:120]), 0, tmp_path)
    held = torch.from_numpy(bars.images[order[120:]]).float() / 127.5 - 1
    small = resized(held, gan.size)
    gan.doubler.eval()
    with torch.no_grad():
        ours, bicubic = gan.doubler(small), resized(small, (8, 8))
    found = [psnr(functional.mse_loss(each, held)) for each in (ours, bicubic)]
    assert found[0] > found[1] + 1


def test_normal_noise_keeps_its_spread_on_the_way_to_another(sections: dict[str, Member]) -> None:
    class Copy(nn.Module):
        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return z.unflatten(1, (1, 40, 50)) / 4

    gan = built("plain_dcgan", PlainDCGAN, sections, noise="normal")
    gan.noise_dim, gan.generator_net = 2000, Copy()
    pixels = interpolation(gan, 0).astype(float)
    diversities = pixels.reshape(3, 10, -1).std(axis=2) / 127.5 * 4
    assert (abs(diversities - 1) < 0.1).all()


def test_a_reconstructed_row_is_below_its_real_one(
    sections: dict[str, Member], bars: LabeledImages
) -> None:
    model = built("autoencoder", Autoencoder, sections)
    found = showcase(model, bars, 0)["reconstruction"]
    places = np.linspace(0, len(bars) - 1, 50).round().astype(int)
    rows = found.reshape(5, 2, 10, 1, 8, 8)
    assert np.array_equal(rows[:, 0].reshape(-1, 1, 8, 8), bars.images[places])


@pytest.mark.parametrize("name", ["plain_dcgan", "wgan", "acgan"])
def test_a_classifier_starts_from_the_convolutions_of_a_discriminator(
    name: str, sections: dict[str, Member], few_bars: LabeledImages
) -> None:
    players = {**sections[name]["discriminator"], "channels": [16, 32]}
    gan = built(name, GENERATORS[name], sections, discriminator=players)
    discriminator = {
        key: value.detach()
        for key, value in conv_state_dict(gan.discriminator_convolutions()).items()
    }
    classifiers = [DiscriminatorCNN(CNNConfig.model_validate(BRIEF), 0) for _ in range(2)]
    classifiers[0].start_from(discriminator)
    with deterministic():
        started, fresh = (each.fit(plain(few_bars)).network for each in classifiers)
    for number, layer in enumerate(convolutions(started)):
        assert torch.allclose(layer.weight, discriminator[f"{number}.weight"], atol=1e-6)
    assert torch.allclose(started.scores[1].weight, fresh.scores[1].weight, atol=1e-6)
    assert not torch.allclose(convolutions(fresh)[0].weight, discriminator["0.weight"], atol=1e-3)


def test_a_classifier_refuses_a_discriminator_of_another_make() -> None:
    classifier = DiscriminatorCNN(CNNConfig.model_validate(BRIEF), 0)
    with pytest.raises(ParamsError, match=r"convolutions of .* found none"):
        classifier.start_from({})
    with pytest.raises(ParamsError, match=r"`classifiers: \[discriminator_cnn\]`"):
        CNN(CNNConfig.model_validate(BRIEF), 0).start_from({})


def test_shares_of_image_and_noise_go_from_all_to_none() -> None:
    signal, noise = schedule(torch.linspace(0, 1, 11))
    assert torch.allclose(signal**2 + noise**2, torch.ones(11))
    assert (signal.diff() < 0).all()
    assert signal[0] == 1
    assert abs(float(signal[-1])) < 1e-6


def formula(name: str, sections: dict[str, Member], **changes: object) -> Any:
    """A generator to compare with a closed form."""
    torch.manual_seed(0)
    return built(name, GENERATORS[name], sections, precision="float32", **changes)


def watched(network: nn.Module) -> Calls:
    """Inputs and output of every call of `network` from now on."""
    calls: Calls = []
    network.register_forward_hook(lambda _, inputs, output: calls.append((inputs, output)))
    return calls


def images() -> Tensor:
    return torch.rand(15, 1, 8, 8) * 2 - 1


def test_acgan_learns_classes_from_real_images_and_codes_from_synthetic_ones(
    sections: dict[str, Member],
) -> None:
    settings = {"realness": 1.0, "class_weight": 2.0, "code_dim": 2, "code_weight": 0.1}
    gan = formula("acgan", sections, **settings)
    labels, z = torch.tensor([0, 1, 2, 0]), torch.randn(4, gan.noise_dim)
    real = torch.zeros(4, 1 + 3 + 2)  # neither real nor not, no class above another
    fake = torch.cat([torch.zeros(4, 4), z[:, :2] + 0.5], dim=1)
    fake[:, 1] = 5.0  # class 0, whichever was asked for
    game, code = math.log(2), 0.1 * 0.5**2
    found = float(gan.discriminator_loss(real, fake, labels, z))
    assert found == pytest.approx(game + 2 * math.log(3) + code)
    wrong = math.log(math.exp(5) + 2) - 5 / 2  # half of the labels are 0
    assert float(gan.generator_loss(fake, labels, z)) == pytest.approx(game + 2 * wrong + code)


def test_a_denoising_step_keeps_the_noise_that_goes_with_the_image(
    sections: dict[str, Member],
) -> None:
    image = images()

    class Knowing(nn.Module):
        def forward(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
            signal, noise = schedule(time[:, None, None, None])
            return (signal * x - image) / noise

    generator_net = formula("diffusion", sections, sampling_steps=2, guidance=0.0).generator_net
    generator_net.network = Knowing()
    calls, z = watched(generator_net.network), torch.randn(15, 64)
    assert torch.allclose(generator_net(z, LABELS), image, atol=1e-5)
    first, noise = schedule(torch.tensor(FIRST_TIME))
    signal, rest = schedule(torch.tensor(FIRST_TIME / 2))
    added = (z.unflatten(1, (1, 8, 8)) - first * image) / noise
    assert torch.allclose(calls[1][0][0], signal * image + rest * added, atol=1e-5)


def test_guidance_extrapolates_from_the_unconditional_prediction(
    sections: dict[str, Member],
) -> None:
    class ByLabel(nn.Module):
        def forward(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
            return torch.where(y == BARS.num_classes, 0.1, 0.3)[:, None, None, None].expand_as(x)

    generator_net = formula("diffusion", sections, sampling_steps=1, guidance=2.0).generator_net
    generator_net.network = ByLabel()
    found = generator_net(torch.zeros(15, 64), LABELS)
    noise = math.sin(FIRST_TIME * math.pi / 2)
    assert torch.allclose(found, torch.full_like(found, -noise * (0.3 + 2 * (0.3 - 0.1))))


def test_levels_of_a_pyramid_add_details_to_the_smaller_image(
    sections: dict[str, Member],
) -> None:
    generator_net = formula("lapgan", sections).generator_net.eval()
    calls = [watched(detail) for detail in generator_net.details]
    z = torch.randn(15, 3 * sections["lapgan"]["latent_dim"])
    levels = generator_net.levels(z, LABELS)
    for number, ((inputs, detail),) in enumerate(calls):
        low = resized(levels[number], levels[number + 1].shape[2:])
        assert torch.equal(inputs[0], low)
        assert torch.equal(inputs[1], z.chunk(3, dim=1)[number + 1])
        assert torch.equal(levels[number + 1], low + detail)
    assert torch.equal(generator_net(z, LABELS), levels[-1].clamp(-1, 1))


def test_the_discriminator_learns_to_reject_wrong_labels(sections: dict[str, Member]) -> None:
    gan = formula("mlp_gan", sections, mismatch=0.5)
    calls, real = watched(gan.discriminator), images()
    losses = gan.update(real, LABELS)
    (shown, wrong), scores = calls[2]
    assert torch.equal(shown, real)
    assert set(((wrong - LABELS) % 3).tolist()) == {1, 2}
    assert torch.allclose(losses["mismatch"], 0.5 * functional.softplus(scores).mean())


def test_several_updates_of_a_generator_have_different_noise(sections: dict[str, Member]) -> None:
    gan = formula("mlp_gan", sections, generator_steps=3)
    calls = watched(gan.generator_net)
    gan.update(images(), LABELS)
    noise = torch.stack([inputs[0] for inputs, _ in calls])
    assert len(noise.unique(dim=0)) == 1 + 3
    for name, moves in (("generator", 3), ("discriminator", 1)):
        states = gan.optimizers[name].state.values()
        assert {int(state["step"]) for state in states} == {moves}


def test_doubling_adds_content_and_weighted_adversarial_loss(sections: dict[str, Member]) -> None:
    gan = formula("srgan", sections, adversarial_weight=0.5)
    real, scores = images(), torch.zeros(15)
    doubled = gan.generate(torch.zeros(15, 1), LABELS, real).detach()
    loss = float(gan.generator_loss(scores, LABELS, torch.zeros(15, 1)).detach())
    assert loss == pytest.approx(float((doubled - real).square().mean()) + 0.5 * math.log(2))


def test_a_traversal_changes_the_most_variable_codes_one_by_one(
    sections: dict[str, Member], bars: LabeledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Codes(nn.Module):
        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return z[:, None, None].expand(-1, 1, 8, -1)

    model = formula("cvae", sections, latent_dim=8)
    spread = torch.tensor([0.1, 3.0, 0.0, 2.0, 0.5, 1.0, 0.2, 0.3])
    means = torch.linspace(-1, 1, 50)[:, None] * spread
    monkeypatch.setattr(model, "encode", lambda *_: (means, torch.zeros_like(means)))
    model.generator_net = Codes()
    found = model.showcase(bars, 0)["traversal"][:, 0, 0].unflatten(0, (8, 10))
    for row, place in zip(found, [1, 3, 5, 4, 7, 6, 0, 2], strict=True):
        expected = torch.zeros(10, 8)
        expected[:, place] = torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, 10)
        assert torch.equal(row, expected)
