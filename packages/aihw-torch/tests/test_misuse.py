"""Wrong use gets one clear sentence and leaves the state as it was."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

from aihw_torch import nn as ann
from aihw_torch.config import InferenceRPUConfig, IOParameters, SingleRPUConfig
from aihw_torch.errors import ConfigError, DeviceError, DtypeError, NonFiniteError, RpuError, ShapeError, StateError
from aihw_torch.inference import calibrate, evaluate_over_time
from aihw_torch.nn import AnalogLinear, AnalogLSTM, AnalogSequential
from aihw_torch.tiles import SharedPeripheryArray
from aihw_torch.utils.analog_info import analog_summary
from aihw_torch.utils.explain import explain
from aihw_torch.utils.fitting import save_preset


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


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("value", [torch.zeros(2, 4), torch.nn.Parameter(torch.zeros(2, 4)), None])
@pytest.mark.parametrize("config", [SingleRPUConfig, InferenceRPUConfig])
def test_values_in_place_of_those_on_tiles(name, value, config):
    layer = AnalogLinear(4, 2, rpu_config=config())
    before, parameters = copy.deepcopy(layer.state_dict()), list(layer.parameters())
    with pytest.raises(
        ConfigError, match=r"weight and bias of AnalogLinear are on its tiles.* set_weights\("
    ) as caught:
        setattr(layer, name, value)
    assert one_sentence(caught)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)
    assert all(a is b for a, b in zip(layer.parameters(), parameters, strict=True))


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


def _cut(config, **options):
    config.mapping.max_input_size, config.mapping.max_output_size = 3, 1
    for name, value in options.items():
        setattr(config, name, value)
    return config


def nested(layout):
    with warnings.catch_warnings():  # torch's, that nested tensors may change
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(3, 4), torch.zeros(2, 4)], layout=layout)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.zeros(()), ShapeError),
        (torch.zeros(3, 0), ShapeError),
        (torch.zeros(3, 5), ShapeError),
        ([[0.0] * 4], DtypeError),
        (torch.zeros(3, 4).to_sparse(), DtypeError),
        (nested(torch.strided), DtypeError),
        (nested(torch.jagged), DtypeError),
    ],
)
@pytest.mark.parametrize(
    "config",
    [
        SingleRPUConfig(),
        InferenceRPUConfig(),
        _cut(SingleRPUConfig()),
        _cut(InferenceRPUConfig()),
        _cut(InferenceRPUConfig(), tile_array_class=SharedPeripheryArray),
    ],
    ids=["pulsed tile", "tile", "pulsed grid", "grid", "shared grid"],
)
def test_inputs_of_other_shapes(x, error, config):
    layer = AnalogLinear(4, 2, rpu_config=config)
    with pytest.raises(error) as caught:
        layer(x)
    assert one_sentence(caught)
    assert all(int(tile.forward_step) == 0 for tile in layer.analog_tiles())


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("config", [SingleRPUConfig(), InferenceRPUConfig()])
def test_nested_images_and_indices(layout, config):
    for layer, x in (
        (ann.AnalogConv1d(4, 2, 2, rpu_config=config), nested(layout)),
        (ann.AnalogEmbedding(5, 3, rpu_config=config), nested(layout).long()),
    ):
        with pytest.raises(DtypeError, match="not a nested one") as caught:
            layer(x)
        assert one_sentence(caught)
        assert all(int(tile.forward_step) == 0 for tile in layer.analog_tiles())


@pytest.mark.parametrize(
    ("indices", "error", "match"),
    [
        (torch.tensor([0, 5]), ShapeError, "an index is 5 and the table has the rows 0 to 4"),
        (torch.tensor([-1]), ShapeError, "an index is -1"),
        (torch.tensor([1.5]), DtypeError, "float32"),
        (torch.tensor([True]), DtypeError, "bool"),
        ([1], DtypeError, "list"),
    ],
)
@pytest.mark.parametrize("config", [SingleRPUConfig(), InferenceRPUConfig()])
def test_indices(indices, error, match, config):
    with pytest.raises(error, match=match) as caught:
        ann.AnalogEmbedding(5, 3, rpu_config=config)(indices)
    assert one_sentence(caught)


def test_indices_of_32_bits():
    config = SingleRPUConfig(forward=IOParameters(is_perfect=True))
    layer = ann.AnalogEmbedding(5, 3, rpu_config=config)
    assert torch.equal(layer(torch.tensor([1, 4], dtype=torch.int32)), layer.weight.T[[1, 4]])


@pytest.mark.parametrize("bias", [torch.zeros(5), torch.full((2,), torch.nan)])
def test_a_bias_beside_the_tiles(bias):
    layer = ann.AnalogConvTranspose2d(3, 2, 3)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises((ShapeError, NonFiniteError), match="the bias"):
        layer.set_weights(torch.zeros(3, 2, 3, 3), bias)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0, torch.ones(2)])
def test_input_ranges(value):
    config = InferenceRPUConfig()
    config.pre_post.input_range.enable = True
    tile = AnalogLinear(4, 2, rpu_config=config).analog_module
    before = tile.input_range.clone()
    with pytest.raises((NonFiniteError, ShapeError), match="an input range"):
        tile.set_input_range(value)
    assert torch.equal(tile.input_range, before)


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), "0.1"])
def test_learning_rates_of_an_explanation(layer, lr):
    with pytest.raises((DtypeError, NonFiniteError), match="the learning rate"), explain(layer, lr=lr):
        pass


@pytest.mark.parametrize("size", [(), [], 4, "ab", (2, -4), (2.5, 4), [(2, 4), ()]])
def test_input_sizes_of_a_summary(layer, size):
    with pytest.raises(ShapeError, match="input_size is the shape"):
        analog_summary(layer, size)


@pytest.mark.parametrize("loader", [(torch.rand(5, 4), torch.zeros(5)), torch.rand(5, 4), [torch.rand(5, 4)]])
def test_batches_that_are_no_pairs(loader):
    with pytest.raises(ConfigError, match=r"needs batches \(input, target\)") as caught:
        evaluate_over_time(AnalogLinear(4, 2, rpu_config=InferenceRPUConfig()), loader, [1.0], 1)
    assert one_sentence(caught)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_summary_of_other_data_types(dtype):
    assert analog_summary(AnalogLinear(4, 2).to(dtype), (5, 4)).layer_summary[0].output_size == (5, 2)


@pytest.mark.parametrize("given", [{"licence": " "}, {"source": ""}, {"licence": None}, {"status": "guess"}])
def test_presets_that_say_too_little(tmp_path, given):
    with pytest.raises(ConfigError):
        save_preset(SingleRPUConfig().device, tmp_path / "Mine", **{"source": "me", "licence": "CC0-1.0", **given})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "read",
    [
        lambda model, loader: evaluate_over_time(model, loader, [1.0, 2.0], 1),
        lambda model, loader: evaluate_over_time(model, loader, [1.0], 2),
        calibrate,
    ],
)
@pytest.mark.parametrize("once", [iter, lambda data: (batch for batch in data)])
def test_loaders_that_can_be_read_only_once(read, once):
    data = [(torch.rand(5, 4), torch.zeros(5, dtype=torch.int64))]
    model = AnalogLinear(4, 2, rpu_config=InferenceRPUConfig())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match="only once; give a list") as caught:
        read(model, once(data))
    assert one_sentence(caught)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert evaluate_over_time(model, once(data), [1.0], 1).values.shape == (1, 1)


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
        (lambda: ann.AnalogGRU(3, 2, num_layers=0), "num_layers"),
    ],
)
def test_impossible_sizes(make, what):
    with pytest.raises(ShapeError, match=f"^{what} must be a whole number"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda config: ann.AnalogLinear(4, 2, config),
        lambda config: ann.AnalogConv2d(1, 2, 3, bias=config),
        lambda config: ann.AnalogConvTranspose1d(1, 2, 3, bias=config),
        lambda config: ann.AnalogLSTM(4, 2, bias=config),
        lambda config: ann.AnalogMultiheadAttention(4, 2, bias=config),
    ],
)
def test_a_configuration_in_the_place_of_the_bias(make):
    with pytest.raises(ConfigError, match=r"bias is a SingleRPUConfig.*rpu_config=") as caught:
        make(SingleRPUConfig())
    assert one_sentence(caught)
