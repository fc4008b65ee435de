"""What the weight errors of `training.py` depend on: the same study with one thing changed at a time.

`nox -s repro -- training_variants` prints the table. The text that the study was made from gives neither the learning
rate of the fast array nor that of SGD.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from training import configuration, spread, weight_error

import rpu_sim


class Variant(NamedTuple):
    """An algorithm at one offset, with other values of some fields of its cell and of its devices."""

    algorithm: str
    offset: float
    label: str
    fields: Mapping[str, Any] = MappingProxyType({})
    device_fields: Mapping[str, float] = MappingProxyType({})
    learning_rate: float = 0.1


VARIANTS = [
    *(
        Variant(algorithm, offset, f"fast_lr {rate:g}", {"fast_lr": rate})
        for algorithm, offset in (("TTv2", 0.0), ("c-TTv2", 0.1), ("c-TTv2", 0.5), ("AGAD", 0.5))
        for rate in (1.0, 0.5, 0.2, 0.15, 0.1)
    ),
    Variant("c-TTv2", 0.5, "signs switch every 10 reads", {"in_chop_random": False}),
    Variant("c-TTv2", 0.5, "signs switch with probability 0.02", {"in_chop_prob": 0.02}),
    Variant("c-TTv2", 0.5, "signs switch with probability 0.5", {"in_chop_prob": 0.5}),
    Variant("c-TTv2", 0.5, "a read after every sample", {"transfer_every": 1.0}),
    Variant("AGAD", 0.5, "signs switch at random", {"in_chop_random": True}),
    *(Variant("SGD", 0.0, f"learning rate {rate:g}", learning_rate=rate) for rate in (0.01, 0.1, 0.3, 1.0, 3.0)),
    Variant("SGD", 0.0, "10 states", device_fields={"dw_min": 0.2}),
    Variant("SGD", 0.0, "step asymmetry 0.3", device_fields={"up_down_dtod": 0.3}),
    Variant("SGD", 0.0, "cycle noise 1", device_fields={"dw_min_std": 1.0}),
]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of chips and targets (default: 3)")
    parser.add_argument("--samples", type=int, default=20_000, help="samples of a run (default: 20000)")
    options = parser.parse_args()
    rpu_sim.set_num_threads(1)
    print(f"{'algorithm':10} {'offset':>6} {'error (%)':>14}  changed")
    for variant in VARIANTS:
        config = configuration(variant.algorithm, variant.offset)
        for name, value in variant.fields.items():
            setattr(config.device, name, value)
        for device in getattr(config.device, "unit_cell_devices", [config.device]):
            for name, value in variant.device_fields.items():
                setattr(device, name, value)
        errors = [weight_error(config, seed, options.samples, variant.learning_rate) for seed in range(options.seeds)]
        error = f"{np.mean(errors):.1f} ± {spread(errors):.1f}"
        print(f"{variant.algorithm:10} {variant.offset:6.1f} {error:>14}  {variant.label}", flush=True)


if __name__ == "__main__":
    main()
