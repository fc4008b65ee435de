"""A layer on a grid of tiles is one layer: values, gradients, training, seeds, weights."""

from __future__ import annotations

import pytest
import torch

from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.errors import ShapeError
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import AnalogTile, TileModuleArray
from aihw_torch.tiles.mapping import split_sizes


@pytest.mark.parametrize(
    ("size", "limit", "sizes"),
    [(600, 512, [300, 300]), (5, 2, [2, 2, 1]), (512, 512, [512]), (7, 0, [7]), (3, 1, [1, 1, 1]), (20, 7, [7, 7, 6])],
)
def test_split_sizes(size, limit, sizes):
    assert split_sizes(size, limit) == sizes


@pytest.mark.parametrize(("max_in", "max_out", "n_in", "n_out"), [(4, 3, 3, 2), (0, 3, 1, 2), (4, 0, 3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_trains_as_the_digital_layer(max_in, max_out, n_in, n_out, bias, digital_twin):
    config = FloatingPointRPUConfig()
    config.mapping.max_input_size, config.mapping.max_output_size = max_in, max_out
    config.mapping.digital_bias = False  # the bias of a grid is digital nevertheless
    layer = AnalogLinear(10, 6, bias, config)
    assert isinstance(layer.analog_module, TileModuleArray)
    assert (len(layer.analog_module.array), len(layer.analog_module.array[0])) == (n_in, n_out)
    twin = digital_twin(layer)
    optimizers = AnalogSGD(layer.parameters(), lr=0.1), torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(5):
        x, gradients = torch.randn(2, 3, 10), []
        for model, optimizer in zip((layer, twin), optimizers, strict=True):
            optimizer.zero_grad()
            x = x.detach().requires_grad_()
            model(x).square().mean().backward()
            gradients.append(x.grad)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
        torch.testing.assert_close(*gradients)
    torch.testing.assert_close(layer.weight, twin.weight.data)
    if bias:
        torch.testing.assert_close(layer.bias.data, twin.bias.data)


def test_large_layers_are_split_by_default():
    layer = AnalogLinear(600, 10)
    assert layer.analog_module.in_sizes == [300, 300]
    assert layer(torch.randn(2, 600)).shape == (2, 10)
    assert isinstance(AnalogLinear(512, 512).analog_module, AnalogTile)


def test_weights_go_around():
    config = SingleRPUConfig()
    config.mapping.max_input_size, config.mapping.max_output_size = 4, 3
    layer = AnalogLinear(10, 6, rpu_config=config)
    weight, bias = 0.1 * torch.randn(6, 10).clamp(-1, 1), torch.randn(6)
    layer.set_weights(weight, bias)
    torch.testing.assert_close(layer.weight, weight)
    torch.testing.assert_close(layer.get_weights(), (weight, bias))
    torch.testing.assert_close(layer.analog_module.array[1][0].weight.data, weight[:3, 4:7])


def test_tiles_have_seeds_of_their_own():
    config = SingleRPUConfig()
    config.mapping.max_input_size = 4
    layer = AnalogLinear(8, 6, rpu_config=config)
    first, second = (tile.get_hidden_parameters()["max_bound"] for tile in layer.analog_tiles())
    assert not torch.equal(first, second)


def test_wrong_shapes():
    config = SingleRPUConfig()
    config.mapping.max_input_size = 4
    layer = AnalogLinear(8, 6, bias=False, rpu_config=config)
    before = layer.get_weights()[0]
    for call in (
        lambda: layer(torch.randn(2, 7)),
        lambda: layer.set_weights(torch.randn(6, 7)),
        lambda: layer.set_weights(torch.randn(6, 8), torch.randn(6)),
    ):
        with pytest.raises(ShapeError):
            call()
    torch.testing.assert_close(layer.get_weights()[0], before, rtol=0, atol=0)
