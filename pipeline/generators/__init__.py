"""Generators of labeled images: one file per family and one line here; no logic.

A new line here changes no trial's fingerprint except those of `srgan`, which looks families up.
"""

from pipeline.generators.autoencoder import Autoencoder
from pipeline.generators.base import Generator
from pipeline.generators.cvae import CVAE
from pipeline.generators.diffusion import Diffusion
from pipeline.generators.gan.acgan import ACGAN
from pipeline.generators.gan.began import BEGAN
from pipeline.generators.gan.dcgan import DCGAN
from pipeline.generators.gan.lapgan import LAPGAN
from pipeline.generators.gan.mlp_gan import MLPGAN
from pipeline.generators.gan.plain_dcgan import PlainDCGAN
from pipeline.generators.gan.srgan import SRGAN
from pipeline.generators.gan.wgan import WGAN, WGANGP

GENERATORS: dict[str, type[Generator]] = {
    "acgan": ACGAN,
    "autoencoder": Autoencoder,
    "began": BEGAN,
    "cvae": CVAE,
    "dcgan": DCGAN,
    "diffusion": Diffusion,
    "lapgan": LAPGAN,
    "mlp_gan": MLPGAN,
    "plain_dcgan": PlainDCGAN,
    "srgan": SRGAN,
    "wgan": WGAN,
    "wgan_gp": WGANGP,
}
