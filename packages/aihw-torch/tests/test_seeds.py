"""Seeds and threads: torch's random state decides, and reading it changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import rpu_sim
from aihw_torch.nn import AnalogLinear
from aihw_torch.tiles import AnalogTile


def devices(layer):
    return layer.analog_module.get_hidden_parameters()["max_bound"]


def test_manual_seed_repeats_devices_noise_and_pulses():
    def run():
        torch.manual_seed(7)
        layer = AnalogLinear(6, 5)
        y = layer(torch.ones(2, 6))
        layer.analog_module.update(torch.ones(6), torch.ones(5), 0.01)
        return devices(layer), y.detach(), layer.get_weights()[0]

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)


def test_other_seeds_and_later_layers_are_different():
    torch.manual_seed(7)
    first, second = AnalogLinear(6, 5), AnalogLinear(6, 5)
    torch.manual_seed(8)
    third = AnalogLinear(6, 5)
    assert len({float(devices(layer)[0, 0]) for layer in (first, second, third)}) == 3


def test_a_seed_of_its_own_overrides():
    torch.manual_seed(7)
    first = AnalogLinear(6, 5, seed=3)
    second = AnalogLinear(6, 5, seed=3)
    assert torch.equal(devices(first), devices(second))
    assert not torch.equal(devices(first), devices(AnalogLinear(6, 5, seed=4)))


def test_a_tile_leaves_the_random_state_of_torch_alone():
    before = torch.get_rng_state()
    tile = AnalogTile(4, 3)
    tile(torch.ones(2, 3))
    tile.update(torch.ones(3), torch.ones(4), 0.1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_number_of_threads_is_that_of_torch(monkeypatch):
    monkeypatch.delenv("RPU_NUM_THREADS", raising=False)
    layer = AnalogLinear(4, 2)
    for n in (2, 1):
        torch.set_num_threads(n)
        layer(torch.ones(1, 4))
        assert rpu_sim.get_num_threads() == n


@pytest.mark.parametrize(("variable", "expected"), [("1", 1), (None, 2)])
def test_the_environment_decides_before_torch(variable, expected):
    code = (
        "import torch; torch.set_num_threads(2); import rpu_sim, aihw_torch;"
        "aihw_torch.nn.AnalogLinear(4, 2)(torch.ones(1, 4)); print(rpu_sim.get_num_threads())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "RPU_NUM_THREADS"}
    environment |= {} if variable is None else {"RPU_NUM_THREADS": variable}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert int(output) == expected
