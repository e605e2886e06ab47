"""Where synthetic images come from: one file per family, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.generators.acgan import ACGAN
from pipeline.generators.autoencoder import Autoencoder
from pipeline.generators.base import Generator
from pipeline.generators.began import BEGAN
from pipeline.generators.cvae import CVAE
from pipeline.generators.dcgan import DCGAN
from pipeline.generators.diffusion import Diffusion
from pipeline.generators.lapgan import LAPGAN
from pipeline.generators.mlp_gan import MLPGAN
from pipeline.generators.plain_dcgan import PlainDCGAN
from pipeline.generators.srgan import SRGAN
from pipeline.generators.wgan import WGAN, WGANGP

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
