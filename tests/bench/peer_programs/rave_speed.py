"""The speed of RAVE's decoder with random weights in its Raspberry Pi configuration: latents to sound at 44.1 kHz.

Streaming, with cached convolutions, weight normalisation removed as its own export does, not compiled, on one thread.
Run by the peers' own Python: -m peer_programs.rave_speed SECONDS
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version

from .stand_ins import stand_in_for
from .timing import real_time_factor, report

stand_in_for("pytorch_lightning", "librosa", "lmdb", "GPUtil", "udls", "sklearn", "requests", "yaml", "tqdm")

import pytorch_lightning  # noqa: E402 - after the stand-ins
import scipy.signal  # noqa: E402
import torch  # noqa: E402

pytorch_lightning.LightningModule = torch.nn.Module
scipy.signal.kaiser = scipy.signal.windows.kaiser  # where newer versions have it only; RAVE knows the older place

import cached_conv  # noqa: E402
import gin  # noqa: E402
import rave  # noqa: E402

RATE_HZ, N_SAMPLES_PER_LATENT = 44100, 2048


def main(duration_s: float) -> None:
    logging.disable(logging.ERROR)  # gin looks for its files in places where they are not, and says so
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cached_conv.use_cached_conv(True)
    gin.parse_config_files_and_bindings(["configs/raspberry.gin"], [])
    model = rave.RAVE(n_channels=1).eval()
    for part in model.modules():
        if hasattr(part, "weight_g"):
            torch.nn.utils.remove_weight_norm(part)
    figures = []
    with torch.inference_mode():
        for n_samples in (2048, 8192):
            z = torch.randn(1, model.latent_size, n_samples // N_SAMPLES_PER_LATENT)
            figures.append(real_time_factor(model.decode, z, n_samples, RATE_HZ, duration_s))
    n_parameters = sum(each.numel() for each in model.decoder.parameters())
    told = f"acids-rave {version('acids-rave')}, torch {torch.__version__}"
    report("RAVE, Raspberry Pi configuration, decoder", told, n_parameters, figures)


if __name__ == "__main__":
    main(float(sys.argv[1]))
