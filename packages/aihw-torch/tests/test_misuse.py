"""Wrong use gets one clear sentence and leaves the state as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from aihw_torch import nn as ann
from aihw_torch.config import InferenceRPUConfig, SingleRPUConfig
from aihw_torch.errors import ConfigError, DeviceError, DtypeError, NonFiniteError, RpuError, ShapeError, StateError
from aihw_torch.nn import AnalogLinear, AnalogLSTM, AnalogSequential


@pytest.fixture
def layer():
    """Give a layer and check afterwards that its state is the same."""
    layer = AnalogLinear(4, 2)
    before = copy.deepcopy(layer.state_dict())
    yield layer
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and ". " not in text


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (torch.zeros(3, 4, dtype=torch.float64), DtypeError, r"float64.*x\.to"),
        (torch.zeros(3, 4, dtype=torch.float16), DtypeError, r"float16.*x\.to"),
        (torch.zeros(3, 4, dtype=torch.int64), DtypeError, r"int64.*x\.to"),
        (torch.zeros(3, 5), ShapeError, "5"),
        (torch.zeros(()), ShapeError, "shape"),
        (torch.full((3, 4), torch.nan), NonFiniteError, "NaN"),
        (torch.full((3, 4), torch.inf), NonFiniteError, "infinity"),
        (torch.zeros(3, 4, device="meta"), DeviceError, "meta"),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_inputs(layer, x, error, match, grad):
    with torch.set_grad_enabled(grad), pytest.raises(error, match=match) as caught:
        layer(x)
    assert one_sentence(caught)


@pytest.mark.parametrize(
    ("weight", "bias", "error"),
    [
        (torch.zeros(2, 5), None, ShapeError),
        (torch.zeros(2, 4), torch.zeros(3), ShapeError),
        (torch.full((2, 4), torch.nan), None, NonFiniteError),
        (torch.zeros(2, 4), torch.full((2,), torch.nan), NonFiniteError),
    ],
)
def test_weights(layer, weight, bias, error):
    with pytest.raises(error) as caught:
        layer.set_weights(weight, bias)
    assert one_sentence(caught)


def test_a_bias_where_there_is_none():
    with pytest.raises(ShapeError, match="no bias"):
        AnalogLinear(4, 2, bias=False).set_weights(torch.zeros(2, 4), torch.zeros(2))


def test_an_analog_bias_left_out():
    config = SingleRPUConfig()
    config.mapping.digital_bias = False
    with pytest.raises(ShapeError, match="give a bias"):
        AnalogLinear(4, 2, rpu_config=config).set_weights(torch.zeros(2, 4))


def test_assigned_values_of_another_shape(layer):
    with pytest.raises(ShapeError):
        layer.weight.data = torch.zeros(4, 2)


def test_conversions_that_change_nothing(layer):
    parameters, pointer = list(layer.parameters()), layer.weight.data_ptr()
    layer.float().to("cpu").cpu().to(torch.float32)
    assert all(a is b for a, b in zip(layer.parameters(), parameters, strict=True))
    assert layer.weight.data_ptr() == pointer == layer.analog_module.tile.weights.data_ptr()


def test_move_to_a_device_without_kernels(layer):
    with pytest.raises(DeviceError, match="meta") as caught:
        layer.to("meta")
    assert one_sentence(caught)


def test_options_that_would_be_ignored():
    config = SingleRPUConfig()
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.gradient_scale = 0.5
    with pytest.raises(ConfigError, match="gradient_scale"):
        AnalogLinear(4, 2, rpu_config=config)


def test_misspelt_options():
    with pytest.raises(ConfigError, match="digital_bias"):
        SingleRPUConfig().mapping.digitalbias = False


def test_a_gradient_without_a_record(layer):
    layer.analog_module.weight_token.grad = torch.ones(1)
    with pytest.raises(StateError, match="backward"):
        layer.analog_module.check_gradient()
    layer.zero_grad()


def test_container_weights_that_are_incomplete():
    model = AnalogSequential(AnalogLinear(4, 2), AnalogLinear(2, 2))
    weights = model.get_weights()
    del weights["1.analog_module"]
    with pytest.raises(StateError, match=r"1\.analog_module"):
        model.set_weights(weights)


def test_every_error_is_an_rpu_error():
    for error in (ConfigError, DeviceError, DtypeError, NonFiniteError, ShapeError, StateError):
        assert issubclass(error, RpuError)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        ([[0.0] * 4], "torch.Tensor"),
        (np.zeros((1, 4), np.float32), "torch.Tensor"),
        (None, "torch.Tensor"),
        (torch.zeros(1, 4, dtype=torch.complex64), "real"),
    ],
)
@pytest.mark.parametrize("config", [SingleRPUConfig(), InferenceRPUConfig()])
def test_inputs_of_other_kinds(x, match, config):
    layer = AnalogLinear(4, 2, rpu_config=config)
    with pytest.raises(DtypeError, match=match) as caught:
        layer(x)
    assert one_sentence(caught)
    assert int(layer.analog_module.forward_step) == 0


@pytest.mark.parametrize("config", ["SingleRPUConfig", SingleRPUConfig, SingleRPUConfig().device])
def test_configurations_of_other_kinds(config):
    with pytest.raises(ConfigError, match=r"such as SingleRPUConfig\(\)") as caught:
        AnalogLinear(4, 2, rpu_config=config)
    assert one_sentence(caught)


@pytest.mark.parametrize(
    ("shape", "states"),
    [
        ((4,), None),
        ((0, 2, 4), None),
        ((3, 2, 4), torch.zeros(1, 2, 5)),
        ((3, 2, 4), (torch.zeros(1, 2, 5),)),
        ((3, 2, 4), (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5))),
        ((3, 4), (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5))),
        ((3, 2, 4), (None, None)),
    ],
)
def test_recurrent_inputs(shape, states):
    """Refused before a tile computes: no step is counted."""
    layer = AnalogLSTM(4, 5)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(shape), states)
    assert one_sentence(caught)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ann.AnalogLinear(-1, 2), "in_features"),
        (lambda: ann.AnalogLinear(2, 0), "out_features"),
        (lambda: ann.AnalogLinear(2.5, 2), "in_features"),
        (lambda: ann.AnalogConv2d(1, 2, 3, stride=0), "stride"),
        (lambda: ann.AnalogConv2d(1, 2, (3, 0)), "kernel_size"),
        (lambda: ann.AnalogConv1d(1, 2, 3, padding=-1), "padding"),
        (lambda: ann.AnalogConv3d(1, 2, 3, dilation=0), "dilation"),
        (lambda: ann.AnalogConv2d(2, 2, 3, groups=0), "groups"),
        (lambda: ann.AnalogConvTranspose2d(1, 2, 3, stride=(1, 0)), "stride"),
        (lambda: ann.AnalogConvTranspose1d(0, 2, 3), "in_channels"),
        (lambda: ann.AnalogEmbedding(0, 3), "num_embeddings"),
        (lambda: ann.AnalogMultiheadAttention(8, 0), "num_heads"),
        (lambda: ann.AnalogLSTM(3, -1), "hidden_size"),
    ],
)
def test_impossible_sizes(make, what):
    with pytest.raises(ShapeError, match=f"^{what} must be a whole number"):
        make()
