"""Small hosts, mixes and requests, drawn from a seed."""

import numpy as np

from tegcore.field.fragmentation import Hosts, Law
from tegcore.field.request_mix import Kinds, derived
from tegcore.field.requests import Mix
from tegcore.units import GIB

SHARES = [100, 190, 250, 300, 470, 500, 810, 1000]


def hosts_of(source, count=6, devices=4, models=2):
    gpus = source.integers(1, devices + 1, count).astype(np.int32)
    free = source.choice([0, 0, 190, 300, 530, 700, 1000, 1000], (count, devices))
    free = np.where(np.arange(devices) < gpus[:, None], free, 0).astype(np.int32)
    return Hosts(
        free,
        gpus,
        source.integers(0, 64_000, count),
        source.integers(0, 256, count) * GIB,
        source.integers(0, models, count).astype(np.int32),
        source.integers(0, 3, count).astype(np.int32),
    )


def requests_of(source, count=8, models=2):
    rows = []
    for _ in range(count):
        gpus = int(source.choice([0, 1, 1, 1, 2, 4]))
        share = 0 if gpus == 0 else 1000 if gpus > 1 else int(source.choice(SHARES))
        mask = int(source.integers(1, 1 << models))
        rows.append((gpus, share, int(source.integers(0, 24_000)), int(source.integers(0, 64)) * GIB, mask))
    return np.array(rows, dtype=np.int64)


def mix_of(source, count=8, models=2):
    classes = np.unique(requests_of(source, count, models), axis=0)
    return Mix(classes, source.integers(1, 50, len(classes)).astype(np.float64))


KINDS = Kinds(
    np.array([1, 2, 4], dtype=np.int32),
    np.array([8_000, 32_000, 64_000]),
    np.array([64, 128, 256]) * GIB,
    np.array([0, 1, 1], dtype=np.int32),
    np.array([3, 2, 4]),
)


def law_of(source) -> Law:
    mix = mix_of(source)
    while not mix.classes[:, 0].any():
        mix = mix_of(source)
    return derived(mix, KINDS)
