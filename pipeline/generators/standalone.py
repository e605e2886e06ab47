"""Every family that needs no other one: a line here; no logic. `srgan` may follow each of them."""

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
from pipeline.generators.wgan import WGAN, WGANGP

STANDALONE: dict[str, type[Generator]] = {
    "acgan": ACGAN,
    "autoencoder": Autoencoder,
    "began": BEGAN,
    "cvae": CVAE,
    "dcgan": DCGAN,
    "diffusion": Diffusion,
    "lapgan": LAPGAN,
    "mlp_gan": MLPGAN,
    "plain_dcgan": PlainDCGAN,
    "wgan": WGAN,
    "wgan_gp": WGANGP,
}
