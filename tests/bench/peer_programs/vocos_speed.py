"""The speed of Vocos with random weights: mel spectrogram to sound at 24 kHz, on one thread.

The network is that of its published model of 24 kHz (charactr/vocos-mel-24khz): 100 mel bands, 8 ConvNeXt blocks of
width 512, hop 256. It is no streaming model: a short block lacks the context that a long one has, and is measured for
its cost alone. Run by the peers' own Python: -m peer_programs.vocos_speed SECONDS
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from .stand_ins import stand_in_for
from .timing import real_time_factor, report

stand_in_for("encodec", "huggingface_hub")

import torch  # noqa: E402 - after the stand-ins
from vocos.heads import ISTFTHead  # noqa: E402
from vocos.models import VocosBackbone  # noqa: E402

RATE_HZ, HOP, N_MELS = 24000, 256, 100


def main(duration_s: float) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = VocosBackbone(input_channels=N_MELS, dim=512, intermediate_dim=1536, num_layers=8).eval()
    head = ISTFTHead(dim=512, n_fft=1024, hop_length=HOP, padding="same").eval()
    figures = []
    with torch.inference_mode():
        for n_frames in (8, 94):  # 2048 samples, and a second
            mel = torch.randn(1, N_MELS, n_frames)
            figures.append(
                real_time_factor(lambda given: head(backbone(given)), mel, n_frames * HOP, RATE_HZ, duration_s)
            )
    n_parameters = sum(each.numel() for part in (backbone, head) for each in part.parameters())
    report("Vocos, mel, 24 kHz", f"vocos {version('vocos')}, torch {torch.__version__}", n_parameters, figures)


if __name__ == "__main__":
    main(float(sys.argv[1]))
