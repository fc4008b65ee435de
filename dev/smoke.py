"""Use installed packages once: `python dev/smoke.py [--alone] PACKAGE...`; prints what it saw."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable


def rpu_sim() -> str:
    """Run a tile forward and through one update on NumPy arrays."""
    import numpy as np

    import rpu_sim

    tile = rpu_sim.Tile(3, 4, seed=7)
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    before = tile.get_weights()
    y = tile.forward(x)
    tile.update(x, y + 1, lr=0.1)
    assert y.shape == (2, 3)
    assert np.isfinite(y).all()
    assert (tile.weights != before).any()
    return f"tile {tile.weights.shape}, up and down pulses {tile.pulse_counts}"


def aihw_presets() -> str:
    """Load every preset."""
    import aihw_presets

    names = aihw_presets.names()
    assert names
    assert all("class" in aihw_presets.load(name) for name in names)
    return f"{len(names)} presets"


def aihw_inference() -> str:
    """Program weights and read them a day later."""
    import numpy as np

    from aihw_inference import PCMLikeNoiseModel, Philox, program

    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    read = np.asarray(program(weights, PCMLikeNoiseModel(), rng=Philox(seed=7)).weights_at(86400.0))
    assert np.isfinite(read).all()
    assert (read != weights).any()
    return f"weights changed by up to {abs(read - weights).max():.3f} in a day"


def aihw_torch() -> str:
    """Train a layer for one step."""
    import torch

    from aihw_torch.nn import AnalogLinear
    from aihw_torch.optim import AnalogSGD

    torch.manual_seed(0)
    model = AnalogLinear(4, 2)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    optimizer.regroup_param_groups(model)
    loss = torch.nn.functional.mse_loss(model(torch.ones(2, 4)), torch.zeros(2, 2))
    loss.backward()
    optimizer.step()
    return f"one step from a loss of {loss.item():.3f}"


CHECKS: dict[str, Callable[[], str]] = {
    "rpu-sim": rpu_sim,
    "aihw-presets": aihw_presets,
    "aihw-inference": aihw_inference,
    "aihw-torch": aihw_torch,
}
OTHERS = ("torch", "rpu_sim", "aihw_presets", "aihw_inference", "aihw_torch")


def main() -> None:
    """Check the packages named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", choices=CHECKS)
    parser.add_argument("--alone", action="store_true", help="also require that the others and torch are absent")
    arguments = parser.parse_args()
    for name in arguments.packages:
        module = name.replace("-", "_")
        present = [other for other in OTHERS if other != module and importlib.util.find_spec(other)]
        if arguments.alone and present:
            raise SystemExit(f"{name} is not alone: {', '.join(present)} came with it; look at its dependencies.")
        assert importlib.metadata.version(name) == importlib.import_module(module).__version__
        print(f"{name} {importlib.metadata.version(name)}: {CHECKS[name]()}")


if __name__ == "__main__":
    main()
