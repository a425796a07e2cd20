"""Half a second of sound: coughs, and what is none, made of noise, pulses, resonances and envelopes.

A cough has three phases (Korpáš, Sadloňová and Vrabec, 1996): a burst of noise that begins within milliseconds, a
quieter stream of air, and now and then a voiced end. What is none has one of these each: a knock bursts, a breath
streams, a vowel is voiced.
"""

import torch

RATE = 8000  # samples a second
LENGTH = 4096
TIME = torch.arange(LENGTH) / RATE
FREQUENCY = torch.fft.rfftfreq(LENGTH, 1 / RATE)  # (2049,)


class Sounds:
    """Draws sounds, (n, LENGTH) each; all that differs from sound to sound is (n, 1)."""

    def __init__(self, rng):
        self.rng = rng

    def uniform(self, n, low, high):
        return low + (high - low) * torch.rand(n, 1, generator=self.rng)

    def noise(self, n):
        return torch.randn(n, LENGTH, generator=self.rng)

    def pulses(self, n, low, high):
        """Of a voice whose pitch, between low and high Hz, falls by a fifth."""
        pitch = self.uniform(n, low, high) * (1 - 0.4 * TIME)
        return torch.exp(10 * (torch.cos(2 * torch.pi * pitch.cumsum(1) / RATE) - 1))

    def coughs(self, n):
        start = self.uniform(n, 0.02, 0.15)
        burst = resonant(self.noise(n), self.uniform(n, 350, 700), 250) + 0.6 * resonant(
            self.noise(n), self.uniform(n, 1200, 2200), 500
        )
        burst = burst * envelope(start, 0.003, self.uniform(n, 0.015, 0.035))
        air = resonant(self.noise(n), self.uniform(n, 900, 1800), 900)
        air = air * envelope(start + self.uniform(n, 0.02, 0.05), 0.03, self.uniform(n, 0.05, 0.1))
        voice = resonant(self.pulses(n, 200, 350), self.uniform(n, 400, 800), 300)
        voice = voice * envelope(start + self.uniform(n, 0.12, 0.18), 0.02, self.uniform(n, 0.03, 0.06))
        voiced = (self.uniform(n, 0, 1) < 0.5).float()
        return peak(burst) + self.uniform(n, 0.15, 0.5) * peak(air) + voiced * self.uniform(n, 0.1, 0.4) * peak(voice)

    def knocks(self, n):
        start, again = self.uniform(n, 0.02, 0.15), self.uniform(n, 0.06, 0.2)
        centre, decay = self.uniform(n, 300, 2000), self.uniform(n, 0.01, 0.04)
        first, second = (resonant(self.noise(n), centre, self.uniform(n, 100, 600)) for _ in range(2))
        second = self.uniform(n, 0, 0.8) * peak(second * envelope(start + again, 0.002, decay))
        return peak(first * envelope(start, 0.002, decay)) + second

    def breaths(self, n):
        start, attack = self.uniform(n, 0.0, 0.1), self.uniform(n, 0.02, 0.1)
        air = resonant(self.noise(n), self.uniform(n, 700, 2000), self.uniform(n, 400, 1000))
        return peak(air * envelope(start, attack, self.uniform(n, 0.06, 0.15)))

    def vowels(self, n):
        start, attack = self.uniform(n, 0.0, 0.1), self.uniform(n, 0.005, 0.04)
        voice = self.pulses(n, 120, 350)
        voice = resonant(voice, self.uniform(n, 300, 800), 200) + resonant(voice, self.uniform(n, 900, 2300), 300)
        breathy = self.uniform(n, 0, 0.3) * peak(resonant(self.noise(n), 1500, 900))
        return peak((peak(voice) + breathy) * envelope(start, attack, self.uniform(n, 0.05, 0.12)))

    def __call__(self, is_cough):
        """Coughs where (n,) is true, and elsewhere knocks, breaths and vowels in turn; (n, LENGTH), at most 1."""
        n = len(is_cough)
        kind = torch.where(is_cough, 0, 1 + torch.arange(n) % 3)
        every = torch.stack([self.coughs(n), self.knocks(n), self.breaths(n), self.vowels(n)])
        return peak(every[kind, torch.arange(n)])


def resonant(x, centre, width):
    """x through a filter that lets pass what lies around a frequency, in Hz."""
    return torch.fft.irfft(torch.fft.rfft(x) * torch.exp(-(((FREQUENCY - centre) / width) ** 2)), LENGTH)


def envelope(start, attack, decay):
    """Rises from a time on within `attack`, and falls within `decay`, all in seconds."""
    t = (TIME - start).clamp(min=0)
    return (1 - torch.exp(-t / attack)) * torch.exp(-t / decay)


def peak(x):
    return x / x.abs().amax(1, keepdim=True)
