"""Activation checkpointing: the recomputed forward draws the noise of the first one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from aihw_torch.config import SingleRPUConfig, SoftBoundsDevice
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.replay import StepLog
from aihw_torch.tiles import WeightTile


def block():
    config = SingleRPUConfig(device=SoftBoundsDevice())
    config.forward.out_noise = config.backward.out_noise = 0.2
    layers = AnalogLinear(4, 4, rpu_config=config), nn.Tanh(), AnalogLinear(4, 4, rpu_config=config), nn.Tanh()
    return AnalogSequential(*layers)


def train(model, run, steps=4):
    optimizer, seen = AnalogSGD(model.parameters(), lr=0.1), []
    for step in range(steps):
        x = torch.randn(3, 4, generator=torch.Generator().manual_seed(step)).requires_grad_()
        optimizer.zero_grad()
        y = run(x)
        y.square().sum().backward()
        optimizer.step()
        seen += [y.detach(), x.grad]
    return seen


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("preserve_rng_state", [True, False])
def test_training_has_the_bits_of_training_without_checkpoints(use_reentrant, preserve_rng_state):
    options = {"use_reentrant": use_reentrant, "preserve_rng_state": preserve_rng_state}
    model = block()
    twin = copy.deepcopy(model)
    # Two segments that share no layer, and the first layer once more: recomputed in another order than computed.
    ours = train(
        model, lambda x: checkpoint(model, checkpoint(model[0], checkpoint(model, x, **options), **options), **options)
    )
    theirs = train(twin, lambda x: twin(twin[0](twin(x))))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)
    assert not any(tile._log._steps for tile in model.analog_tiles())


def test_sequences_of_segments():
    model = block()
    twin = copy.deepcopy(model)
    ours = train(model, lambda x: checkpoint_sequential(model, 2, x, use_reentrant=False))
    torch.testing.assert_close(ours, train(twin, twin), rtol=0, atol=0)


def test_a_log_of_equal_inputs_gives_the_steps_in_their_order():
    log, x = StepLog(), torch.ones(2, 3)
    assert log.find(x) is None
    log.note(x, 4)
    log.note(x, 5)
    log.note(x.T, 6)
    assert [log.find(x) for _ in range(3)] == [4, 5, None]
    assert log.find(x.T) == 6


def test_a_forward_without_gradients_is_not_remembered():
    model = block()
    with torch.no_grad():
        model(torch.randn(3, 4))
    assert not any(tile._log._steps for tile in model.analog_tiles())


class NoisyTile(WeightTile):
    """Noise that depends on nothing but the step."""

    def array_product(self, x, weight, step):
        generator = torch.Generator().manual_seed(int(step))
        return nn.functional.linear(x, weight) + torch.randn(*x.shape[:-1], self.out_size, generator=generator)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_tiles_that_are_trained_in_software_get_their_step_as_well(use_reentrant):
    config = SingleRPUConfig(tile_class=NoisyTile)
    model = AnalogSequential(AnalogLinear(4, 4, rpu_config=config), nn.Tanh(), AnalogLinear(4, 4, rpu_config=config))
    twin, x = copy.deepcopy(model), torch.randn(3, 4).requires_grad_()
    checkpoint(model, x, use_reentrant=use_reentrant).square().sum().backward()
    twin(x).square().sum().backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)
