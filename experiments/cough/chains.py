"""Recording chains: what a microphone, its amplifier and its converter make of a sound."""

from dataclasses import dataclass

import torch
from sounds import FREQUENCY, LENGTH, Sounds, peak

OCTAVES = (FREQUENCY.clamp(min=20) / 1000).log2()  # above 1 kHz


@dataclass
class Recorder:
    """A chain, by numbers or by (n, 1), one for each sound."""

    tilt: float  # dB an octave
    low: float  # Hz, below which it falls by 24 dB an octave
    high: float  # Hz, above which it falls by 48 dB an octave, as one with a lower sample rate does
    centre: float  # Hz, of a resonance half an octave wide
    gain: float  # dB, of the resonance
    noise: float  # dB, with respect to the loudest sample
    clip: float  # where samples are cut off, with respect to the loudest one

    def response(self):
        """(n or 1, frequencies), in dB."""
        f, number = OCTAVES, lambda x: torch.as_tensor(x, dtype=torch.float32)
        low, high, centre = (torch.log2(number(x) / 1000) for x in (self.low, self.high, self.centre))
        resonance = self.gain * torch.exp(-((2 * (f - centre)) ** 2))
        return self.tilt * f + resonance - 24 * (low - f).clamp(min=0) - 48 * (f - high).clamp(min=0)

    def __call__(self, x, rng):
        """Records sounds (n, LENGTH); each time the gain, the tilt and the noise are a little different."""
        few = lambda scale: scale * torch.randn(len(x), 1, generator=rng)
        filtered = torch.fft.rfft(x) * 10 ** ((self.response() + few(1) * OCTAVES) / 20)
        y = peak(torch.fft.irfft(filtered, LENGTH))
        y = torch.minimum(torch.maximum(y, -torch.as_tensor(self.clip)), torch.as_tensor(self.clip))
        hiss = 10 ** ((self.noise + few(2)) / 20) * torch.randn(x.shape, generator=rng)
        return peak(y + hiss)


STUDIO = Recorder(tilt=1.5, low=60, high=3900, centre=2500, gain=4, noise=-48, clip=1.0)
PHONE = Recorder(tilt=-1.5, low=250, high=3000, centre=1000, gain=6, noise=-36, clip=0.6)
UNSEEN = Recorder(tilt=-3, low=120, high=2700, centre=700, gain=6, noise=-40, clip=0.8)


def random(n, rng):
    """Another chain for each of n sounds."""
    draw = Sounds(rng).uniform
    return Recorder(
        tilt=draw(n, -5, 5),
        low=draw(n, 50, 400),
        high=draw(n, 2000, 4000),
        centre=draw(n, 400, 3000),
        gain=draw(n, -8, 8),
        noise=draw(n, -50, -25),
        clip=draw(n, 0.4, 1),
    )
