"""AnalogLinear beside nn.Linear: construction, shapes, values, what it looks like from outside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aihw_torch.config import ConstantStepDevice, FloatingPointRPUConfig, MappingParameter, SingleRPUConfig
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.tiles import AnalogTile, FloatingPointTile, TileModuleArray


@pytest.mark.parametrize("shape", [(5,), (1, 5), (7, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_input_gradients_are_those_of_the_digital_twin(exact, shape, bias, digital_twin):
    layer = AnalogLinear(5, 3, bias, exact)
    twin = digital_twin(layer)
    x = torch.randn(shape, requires_grad=True)
    x2 = x.detach().clone().requires_grad_()
    y, y2 = layer(x), twin(x2)
    d = torch.randn_like(y)
    y.backward(d)
    y2.backward(d)
    torch.testing.assert_close(y, y2)
    torch.testing.assert_close(x.grad, x2.grad)
    if bias:
        torch.testing.assert_close(layer.bias.grad, twin.bias.grad)


def test_strided_inputs_and_expanded_gradients(exact, digital_twin):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    twin = digital_twin(layer)
    x = torch.randn(5, 8).T[::2]
    torch.testing.assert_close(layer(x), twin(x))
    layer(x).sum().backward()  # the gradient of a sum is one number with strides of zero
    twin(x).sum().backward()
    torch.testing.assert_close(layer.analog_module.weight_token.grad, twin.weight.grad.norm().view(1))


@pytest.mark.parametrize("bias", [True, False])
def test_starts_from_the_weights_of_the_digital_twin(bias, digital_twin):
    config = SingleRPUConfig(device=ConstantStepDevice(w_max=10.0, w_min=-10.0))
    torch.manual_seed(3)
    twins = [nn.Linear(7, 4, bias), nn.Linear(4, 2, bias)]
    torch.manual_seed(3)
    layers = [AnalogLinear(7, 4, bias, config), AnalogLinear(4, 2, bias, config)]
    for layer, twin in zip(layers, twins, strict=True):
        torch.testing.assert_close(layer.weight.data, twin.weight.data, rtol=0, atol=0)
        if bias:
            torch.testing.assert_close(layer.bias.data, twin.bias.data, rtol=0, atol=0)


def test_weight_is_the_array_itself():
    layer = AnalogLinear(4, 2, rpu_config=FloatingPointRPUConfig())
    tile = layer.analog_module
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.shape == (2, 4)
    assert not layer.weight.requires_grad
    assert layer.weight.data_ptr() == tile.tile.weights.data_ptr()
    tile.update(torch.ones(4), torch.ones(2), 0.5)
    torch.testing.assert_close(layer.weight.data, layer.get_weights()[0])
    with torch.no_grad():
        layer.weight.fill_(0.25)
    torch.testing.assert_close(tile(torch.ones(4)) - layer.bias, torch.ones(2))
    layer.weight.data = torch.zeros(2, 4)
    assert layer.weight.data_ptr() == tile.tile.weights.data_ptr()
    assert not layer.get_weights()[0].any()


def test_parameters_are_the_array_its_token_and_the_digital_bias():
    layer = AnalogLinear(4, 2)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "analog_module.weight": (2, 4),
        "analog_module.weight_token": (1,),
        "analog_module.bias": (2,),
    }
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == [
        "analog_module.bias",
        "analog_module.weight_token",
    ]


def test_an_analog_bias_is_one_more_column(exact, digital_twin):
    exact.mapping.digital_bias = False
    layer = AnalogLinear(5, 3, rpu_config=exact)
    twin = digital_twin(layer)
    assert layer.weight.shape == (3, 6)
    assert layer.weight.logical_weight.shape == (3, 5)
    torch.testing.assert_close(layer.bias, twin.bias.data)
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["analog_module.weight_token"]
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), twin(x))
    layer.set_weights(torch.ones(3, 5), torch.tensor([1.0, 2.0, 3.0]))
    weight, bias = layer.get_weights()
    assert (weight == 1.0).all()
    assert bias.tolist() == [1.0, 2.0, 3.0]


def test_set_weights_stays_inside_the_bounds_of_the_devices():
    layer = AnalogLinear(6, 5, rpu_config=SingleRPUConfig(device=ConstantStepDevice()))
    hidden = layer.analog_module.get_hidden_parameters()
    layer.set_weights(torch.full((5, 6), 9.0))
    torch.testing.assert_close(layer.get_weights()[0], hidden["max_bound"])
    layer.set_weights(torch.full((5, 6), -9.0))
    torch.testing.assert_close(layer.get_weights()[0], hidden["min_bound"])


def test_hidden_parameters_can_be_set():
    layer = AnalogLinear(6, 5)
    tile = layer.analog_module
    hidden = tile.get_hidden_parameters()
    hidden["max_bound"][:] = 0.125
    tile.set_hidden_parameters(hidden)
    layer.set_weights(torch.full((5, 6), 9.0))
    assert (layer.get_weights()[0] == 0.125).all()


def test_iterators_reach_each_tile_once():
    shared = AnalogLinear(4, 4)
    config = SingleRPUConfig(mapping=MappingParameter(max_input_size=2, max_output_size=2))
    inner = AnalogSequential(shared, nn.ReLU(), nn.Linear(4, 4))
    model = AnalogSequential(shared, inner, AnalogLinear(4, 3, rpu_config=config))
    assert [name for name, _ in model.named_analog_tiles()] == [
        "0.analog_module",
        "2.analog_module.array.0.0",
        "2.analog_module.array.0.1",
        "2.analog_module.array.1.0",
        "2.analog_module.array.1.1",
    ]
    assert model.analog_tile_count() == 5
    assert [name for name, _ in model.named_analog_layers()] == ["0", "2"]
    assert [name for name, _ in model.named_analog_modules()] == ["", "0", "1", "2"]
    seen = []
    assert model.apply_to_analog_tiles(seen.append) is model
    assert seen == list(model.analog_tiles())
    seen.clear()
    model.apply_to_analog_layers(seen.append)
    assert seen == list(model.analog_layers())


def test_container_weights_by_the_name_of_the_tile():
    model = AnalogSequential(AnalogLinear(4, 3), nn.Tanh(), AnalogLinear(3, 2, bias=False))
    other = AnalogSequential(AnalogLinear(4, 3), nn.Tanh(), AnalogLinear(3, 2, bias=False))
    weights = {name: (0.01 * torch.ones_like(w), b) for name, (w, b) in model.get_weights().items()}
    assert list(weights) == ["0.analog_module", "2.analog_module"]
    other.set_weights(weights)
    torch.testing.assert_close(other[0].get_weights(), weights["0.analog_module"])


def test_classes_of_tiles():
    assert type(AnalogLinear(4, 2).analog_module) is AnalogTile
    assert type(AnalogLinear(4, 2, tile_module_class=FloatingPointTile).analog_module) is FloatingPointTile
    assert type(AnalogLinear(4, 2, tile_module_class=TileModuleArray).analog_module) is TileModuleArray
    config = FloatingPointRPUConfig(tile_class=FloatingPointTile)
    assert type(AnalogLinear(4, 2, rpu_config=config).analog_module) is FloatingPointTile


def test_the_tile_keeps_its_own_copy_of_the_configuration():
    config = SingleRPUConfig()
    layer = AnalogLinear(4, 2, rpu_config=config)
    config.forward.out_noise = 7.0
    assert layer.analog_module.rpu_config.forward.out_noise != 7.0


def test_repr_names_sizes_bias_and_configuration():
    text = repr(AnalogLinear(4, 2, bias=False))
    assert "in_features=4, out_features=2, bias=False, rpu_config=SingleRPUConfig" in text
    assert "ConstantStepDevice" in text
