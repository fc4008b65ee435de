"""Scales, input ranges, biases and data types around the array, on exact tiles and on both kinds of tile."""

from __future__ import annotations

import pytest
import torch
from layer_examples import exact_config
from torch import nn

from aihw_torch.config import (
    BoundManagementType,
    ConstantStepDevice,
    InferenceRPUConfig,
    InputRangeParameter,
    IOParameters,
    MappingParameter,
    NoiseManagementType,
    PrePostProcessingParameter,
    RPUDataType,
    SingleRPUConfig,
)
from aihw_torch.errors import ConfigError, DtypeError, NonFiniteError, ShapeError
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import WeightTile

KINDS = ["pulsed", "software"]


def config_of(kind, *, mapping=None, input_range=None):
    """Return the configuration of exact tiles, with pulses (of the ideal device) or trained in software."""
    config = exact_config("ideal")
    config.mapping = mapping or MappingParameter()
    if input_range is not None:
        config.pre_post = PrePostProcessingParameter(input_range=input_range)
    if kind == "software":
        config.tile_class = WeightTile
    return config


def optimizer_of(kind, model, lr):
    return (AnalogSGD if kind == "pulsed" else torch.optim.SGD)(model.parameters(), lr=lr)


# ---- scales

MAPPINGS = {
    "omega": MappingParameter(weight_scaling_omega=0.3),
    "columnwise": MappingParameter(weight_scaling_omega=0.3, weight_scaling_columnwise=True),
    "compensated": MappingParameter(
        weight_scaling_omega=0.3, weight_scaling_columnwise=True, weight_scaling_lr_compensation=True
    ),
    "learned": MappingParameter(learn_out_scaling=True),
    "learned_columnwise": MappingParameter(
        weight_scaling_omega=0.6, learn_out_scaling=True, out_scaling_columnwise=True
    ),
    "analog_bias": MappingParameter(digital_bias=False, weight_scaling_omega=0.3, weight_scaling_columnwise=True),
    "grid": MappingParameter(weight_scaling_omega=0.3, max_input_size=3, max_output_size=2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in MAPPINGS if "learned" not in name])
def test_scales_change_neither_outputs_nor_training(kind, name):
    layer = AnalogLinear(5, 3, rpu_config=config_of(kind, mapping=MAPPINGS[name]))
    weight, bias = 4.0 * torch.randn(3, 5), torch.randn(3)
    layer.set_weights(weight, bias)
    twin = nn.Linear(5, 3)
    twin.load_state_dict({"weight": weight, "bias": bias})
    for tile in layer.analog_tiles():
        physical = tile._read_physical()
        largest = physical.abs().amax(1) if MAPPINGS[name].weight_scaling_columnwise else physical.abs().max()
        torch.testing.assert_close(largest, torch.full_like(largest, 0.3))
    optimizers = optimizer_of(kind, layer, 0.1), torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(4):
        x, results = torch.randn(6, 5), []
        for model, optimizer in zip((layer, twin), optimizers, strict=True):
            optimizer.zero_grad()
            given = x.clone().requires_grad_()
            y = model(given)
            y.square().mean().backward()
            results.append((y, given.grad))
            if name != "analog_bias":  # there the bias is part of the one norm
                nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.get_weights(), (twin.weight.data, twin.bias.data), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.weight if name == "grid" else layer.get_weights()[0], twin.weight.data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["learned", "learned_columnwise"])
def test_learned_scales_have_the_gradients_of_a_factor(kind, name):
    layer = AnalogLinear(5, 3, rpu_config=config_of(kind, mapping=MAPPINGS[name]))
    tile = layer.analog_module
    weight = layer.get_weights()[0]
    before = tile.set_learned_out_scales(2.0), tile._read_physical()
    scale = tile.out_scaling_alpha
    assert scale.shape == ((3,) if name == "learned_columnwise" else (1,))
    x, d = torch.randn(4, 5), torch.randn(4, 3)
    optimizer = optimizer_of(kind, layer, 0.1)
    layer(x).backward(d)
    expected = (d * (x @ weight.T)).sum(0)
    torch.testing.assert_close(scale.grad, expected if scale.numel() == 3 else expected.sum().view(1))
    optimizer.step()
    # The weight before the learned scale moves by lr times its own gradient, which has that factor.
    mapping = 1.0 if tile.mapping_scales is None else tile.mapping_scales
    moved = (tile._read_physical() - before[1]) * mapping
    torch.testing.assert_close(moved, -0.1 * 2.0 * d.T @ x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_can_be_read_and_set(kind):
    tile = AnalogLinear(5, 3, rpu_config=config_of(kind, mapping=MAPPINGS["learned_columnwise"])).analog_module
    torch.testing.assert_close(tile.get_scales(), tile.get_mapping_scales().expand(3))
    for value, shape in ((2.0, 1), (torch.tensor([1.0, 2.0, 3.0]), 3), (5.0, 1)):
        tile.set_mapping_scales(value)
        torch.testing.assert_close(tile.get_mapping_scales(), torch.as_tensor(value).view(-1).expand(shape))
    tile.set_scales(0.5)
    torch.testing.assert_close(tile.get_scales(), torch.full((3,), 0.5))
    tile.set_mapping_scales(None)
    assert tile.get_mapping_scales() is None
    with pytest.raises(ShapeError):
        tile.set_mapping_scales([1.0, 2.0])
    with pytest.raises(NonFiniteError):
        tile.set_mapping_scales(0.0)
    with pytest.raises(ConfigError, match="learn_out_scaling"):
        AnalogLinear(2, 2, rpu_config=config_of(kind)).analog_module.set_learned_out_scales(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_remap_keeps_the_logical_weights(kind):
    layer = AnalogLinear(5, 3, rpu_config=config_of(kind))
    weight = layer.get_weights()[0]
    layer.remap_analog_weights(0.9)
    torch.testing.assert_close(layer.get_weights()[0], weight)
    torch.testing.assert_close(layer.get_weights(apply_weight_scaling=False)[0].abs().max(), torch.tensor(0.9))
    layer.set_weights(torch.full((3, 5), 0.5), apply_weight_scaling=False)
    torch.testing.assert_close(layer.get_weights(apply_weight_scaling=False)[0], torch.full((3, 5), 0.5))


def test_omega_keeps_large_weights_from_the_bounds_of_the_devices():
    device = ConstantStepDevice(w_max_dtod=0.0, w_min_dtod=0.0)
    weight = torch.linspace(-3.0, 3.0, 15).view(3, 5)
    for omega, exact in ((0.0, False), (0.6, True)):
        mapping = MappingParameter(weight_scaling_omega=omega)
        layer = AnalogLinear(5, 3, rpu_config=SingleRPUConfig(device=device, mapping=mapping))
        layer.set_weights(weight, torch.zeros(3))
        assert torch.allclose(layer.get_weights()[0], weight) is exact


# ---- realistic reading and writing


def test_realistic_writing_and_reading_go_through_pulses_and_noise():
    """The loop stops at a mean error of 1 % of the largest output, 0.005 with noise of 0.002; the mapping scale is 4.

    Each of 40 reads has noise of 0.002: the estimates spread by 4 * 0.002 / sqrt(40 - 4 - 1) = 0.0014, and one of 12 is
    beyond 0.01 with a probability of 1e-11.
    """
    forward = IOParameters(inp_res=-1, out_res=-1, out_noise=0.002)
    device = ConstantStepDevice(w_max=2.0, w_min=-2.0)
    config = SingleRPUConfig(device=device, forward=forward, mapping=MappingParameter(weight_scaling_omega=0.5))
    layer = AnalogLinear(4, 3, rpu_config=config)
    weight, tile = torch.linspace(-2.0, 2.0, 12).view(3, 4), layer.analog_module
    counts = tile.pulse_counts
    layer.set_weights(weight, torch.zeros(3), realistic=True)
    assert sum(tile.pulse_counts) > sum(counts)
    error = layer.get_weights()[0] - weight
    assert 0.0 < error.abs().mean() < 4 * (0.005 + 0.002)
    calls = int(tile.forward_step)
    assert calls > 0
    estimate = layer.get_weights(realistic=True)[0]
    assert int(tile.forward_step) == calls + 1
    difference = estimate - layer.get_weights()[0]
    assert 0.0 < difference.abs().max() < 0.01
    torch.testing.assert_close(layer.to_digital(realistic=True).weight.data, layer.get_weights()[0], rtol=0, atol=0.01)
    with pytest.raises(ConfigError, match="realistic"):
        AnalogLinear(2, 2, rpu_config=config_of("software")).get_weights(realistic=True)
    with pytest.raises(ConfigError, match="realistic"):
        AnalogLinear(2, 2, rpu_config=config_of("software")).set_weights(torch.zeros(2, 2), realistic=True)


# ---- input ranges


def ranged(kind="pulsed", bias=True, digital_bias=True, **options):
    mapping = MappingParameter(digital_bias=digital_bias)
    parameters = InputRangeParameter(enable=True, **options)
    return AnalogLinear(5, 3, bias, config_of(kind, mapping=mapping, input_range=parameters))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digital_bias", [True, False])
def test_gradients_of_a_range_are_those_of_the_clipped_layer(kind, digital_bias):
    """y = W clip(x, -r, r) + b: the exact gradients of x, W, b and r, also where x is at a distance from the range."""
    layer = ranged(kind, digital_bias=digital_bias, init_value=1.2, init_from_data=0, decay=0.0)
    weight, bias = layer.get_weights()
    r = torch.tensor([1.2], requires_grad=True)
    weight, bias = weight.requires_grad_(), bias.requires_grad_()
    x = 2.0 * torch.randn(7, 5)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    d = torch.randn(7, 3)
    y = layer(ours)
    expected = torch.clamp(theirs, -r, r) @ weight.T + bias
    torch.testing.assert_close(y, expected)
    y.backward(d)
    expected.backward(d)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(layer.analog_module.input_range.grad, r.grad)
    before = layer.get_weights()
    optimizer_of(kind, layer, 0.1).step()
    after = layer.get_weights()
    torch.testing.assert_close(after[0] - before[0], -0.1 * weight.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(after[1] - before[1], -0.1 * bias.grad, rtol=1e-4, atol=1e-6)


def test_the_range_learns_through_the_noise_of_the_converters():
    """With an ADC bound the derivative with respect to r is that of r * f(x / r), checked by differences."""
    config = SingleRPUConfig(tile_class=Saturating)
    config.pre_post.input_range = InputRangeParameter(enable=True, init_value=1.0, init_from_data=0, decay=0.0)
    layer = AnalogLinear(5, 3, rpu_config=config)
    x, tile = torch.randn(6, 5), layer.analog_module
    layer(x).sum().backward()
    values = []
    for r in (1.0 + 1e-3, 1.0 - 1e-3):
        tile.set_input_range(r)
        values.append(layer(x).sum().double())
    torch.testing.assert_close(
        tile.input_range.grad.double()[0], (values[0] - values[1]).detach() / 2e-3, rtol=1e-2, atol=1e-2
    )


class Saturating(WeightTile):
    def array_product(self, x, weight, step):
        return torch.tanh(nn.functional.linear(x, weight))


@pytest.mark.parametrize("relative", [True, False])
def test_the_legacy_rule(relative):
    options = {"gradient_scale": 0.5, "gradient_relative": relative, "decay": 0.0, "gradient": "legacy"}
    layer = ranged(init_value=1.0, init_from_data=0, **options)
    layer.analog_module.set_input_range(0.8)
    weight, x, d = layer.get_weights()[0], 2.0 * torch.randn(7, 5), torch.randn(7, 3)
    given = x.clone().requires_grad_()
    layer(given).backward(d)
    dx = d @ weight
    torch.testing.assert_close(given.grad, dx)  # straight through, also where the input is clipped
    rule = dx.clamp(max=0.0)[x >= 0.8].sum() - dx.clamp(min=0.0)[x <= -0.8].sum()
    expected = rule * 0.8 * 0.5 if relative else rule
    torch.testing.assert_close(layer.analog_module.input_range.grad, expected.view(1))


@pytest.mark.parametrize("gradient", ["exact", "legacy"])
def test_a_range_that_clips_too_little_decays(gradient):
    layer = ranged(init_value=2.0, init_from_data=0, decay=0.1, input_min_percentage=0.7, gradient=gradient)
    r = layer.analog_module.input_range
    layer(torch.full((1, 5), 0.5)).sum().backward()
    torch.testing.assert_close(r.grad, torch.tensor([0.2]))
    r.grad = None
    layer(torch.tensor([[3.0, 3.0, 0.0, 0.0, 0.0]])).sum().backward()  # 60 % inside: no decay
    plain = ranged(init_value=2.0, init_from_data=0, decay=0.0, gradient=gradient)
    plain.load_state_dict(layer.state_dict(), load_rpu_config=False)
    plain(torch.tensor([[3.0, 3.0, 0.0, 0.0, 0.0]])).sum().backward()
    torch.testing.assert_close(r.grad, plain.analog_module.input_range.grad)


def test_the_range_follows_the_first_batches_of_training():
    layer = ranged(init_value=3.0, init_from_data=2, init_std_alpha=2.0)
    r, expected = layer.analog_module.input_range, 3.0
    layer.eval()(torch.randn(4, 5))
    layer.train()(torch.zeros(4, 5))  # without a spread: not counted
    for i, x in enumerate((torch.randn(4, 5), 3.0 * torch.randn(6, 5))):
        layer(x).sum().backward()
        expected = (expected * i + 2.0 * float(x.std())) / (i + 1)
        torch.testing.assert_close(r.item(), expected)
    layer(torch.randn(4, 5))
    torch.testing.assert_close(r.item(), expected)
    assert int(layer.analog_module.input_range_update_idx) == 2


def test_ranges_while_the_layer_is_used_several_times():
    layer = ranged(init_from_data=100)
    h = layer(torch.randn(4, 5))
    (h.sum() + layer(2.0 * torch.randn(4, 5)).sum()).backward()
    assert torch.isfinite(layer.analog_module.input_range.grad).all()


def test_a_range_that_is_not_learned_is_a_buffer():
    layer = ranged(learn_input_range=False, init_value=1.5)
    assert "analog_module.input_range" in dict(layer.named_buffers())
    layer.analog_module.set_input_range(-0.7)
    torch.testing.assert_close(layer.analog_module.input_range, torch.tensor([0.7]))
    with pytest.raises(ConfigError, match=r"input_range\.enable"):
        AnalogLinear(2, 2).analog_module.set_input_range(1.0)


def test_state_of_scales_and_ranges():
    mapping = MappingParameter(weight_scaling_omega=0.3, learn_out_scaling=True, weight_scaling_columnwise=True)
    for kind in KINDS:
        make = [
            AnalogLinear(
                5, 3, rpu_config=config_of(kind, mapping=mapping, input_range=InputRangeParameter(enable=True))
            )
            for _ in range(2)
        ]
        make[0](torch.randn(4, 5))
        make[1].analog_module.set_mapping_scales(None)
        make[1].load_state_dict(make[0].state_dict())
        torch.testing.assert_close(make[1].state_dict(), make[0].state_dict(), rtol=0, atol=0)
        plain = AnalogLinear(5, 3, rpu_config=config_of(kind))
        with pytest.raises(RuntimeError, match=r"Unexpected key.*input_range"):
            plain.load_state_dict(make[0].state_dict(), load_rpu_config=False)


# ---- data types


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_models_of_another_type(kind, dtype):
    """Digital parts, inputs and outputs change their type; the array of devices stays float32."""
    config = config_of(kind)
    model = AnalogSequential(AnalogConv2d(1, 2, 3, rpu_config=config), nn.Flatten(), nn.Linear(18, 4))
    model.append(AnalogLinear(4, 2, rpu_config=config))
    model.to(dtype)
    array = model[3].weight.dtype
    assert array is (torch.float32 if kind == "pulsed" else dtype)
    twin = nn.Sequential(model[0].to_digital(), nn.Flatten(), nn.Linear(18, 4, dtype=dtype), model[3].to_digital())
    twin[2].load_state_dict(model[2].state_dict())
    assert twin[0].weight.dtype is dtype
    x, eps = torch.randn(3, 1, 5, 5, dtype=dtype), max(torch.finfo(dtype).eps, 1e-6)
    y, z = model(x), twin(x)
    assert y.dtype is dtype
    torch.testing.assert_close(y, z, rtol=16 * eps, atol=16 * eps)
    optimizers = optimizer_of(kind, model, 0.1), torch.optim.SGD(twin.parameters(), lr=0.1)
    for result, optimizer in zip((y, z), optimizers, strict=True):
        result.square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(model[3].get_weights()[0].to(dtype), twin[3].weight.data, rtol=32 * eps, atol=32 * eps)
    with pytest.raises(DtypeError, match=r"x\.to"):
        model[3](torch.randn(2, 4, dtype=torch.float32))
    model.float()
    assert model(x.float()).dtype is torch.float32


def test_the_data_type_of_the_configuration_is_that_of_the_edge():
    config = exact_config("ideal")
    config.runtime.data_type = RPUDataType.DOUBLE
    layer = AnalogLinear(4, 2, rpu_config=config)
    assert layer(torch.randn(3, 4, dtype=torch.float64)).dtype is torch.float64
    assert layer.bias.dtype is torch.float64


def clipping_config(kind, out_bound=1.0, **options):
    """Return a configuration whose converter only clips, with an input range that looks at what it clips."""
    defaults = {"init_from_data": 0, "init_value": 2.0, "decay": 0.0, "manage_output_clipping": True}
    config = config_of(kind, input_range=InputRangeParameter(enable=True, **(defaults | options)))
    if kind == "software":
        config = InferenceRPUConfig(mapping=config.mapping, pre_post=config.pre_post)
    config.forward = IOParameters(
        inp_bound=0.0,
        inp_res=0.0,
        out_res=0.0,
        out_noise=0.0,
        out_bound=out_bound,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )
    return config


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["exact", "legacy"])
@pytest.mark.parametrize(("wanted", "grows"), [(0.9, True), (0.7, False)])
def test_clipped_outputs_make_the_range_grow(kind, rule, wanted, grows):
    """Of four outputs one is clipped, p = 3/4: below the wanted fraction, -(1 - p) r is added to the gradient."""
    gradients = []
    for manages in (True, False):
        options = {"gradient": rule, "output_min_percentage": wanted, "manage_output_clipping": manages}
        config = clipping_config(kind, **options)
        config.mapping.weight_scaling_omega = 1.1  # the scale of 4 is no part of what the converter sees
        layer = AnalogLinear(2, 2, bias=False, rpu_config=config)
        layer.set_weights(torch.tensor([[4.4, 0.0], [0.0, 2.0]]))
        x = torch.tensor([[1.0, 1.9], [5.0, 1.0]])  # over r = 2: 0.5, 0.95; 1 (clipped), 0.5
        y = layer(x)
        y.backward(torch.ones_like(y))
        gradients.append(layer.analog_module.input_range.grad)
    torch.testing.assert_close(gradients[0] - gradients[1], torch.tensor([-0.25 * 2.0 if grows else 0.0]))


def test_a_range_that_looks_at_clipped_outputs_opens_the_converter():
    config = clipping_config("software", init_value=0.5)
    layer = AnalogLinear(4, 4, bias=False, rpu_config=config)
    layer.set_weights(2.0 * torch.eye(4))
    optimizer = torch.optim.SGD([layer.analog_module.input_range], lr=0.3)
    x = torch.linspace(-0.5, 0.5, 40).view(10, 4)
    for _ in range(30):
        optimizer.zero_grad()
        (0.0 * layer(x)).sum().backward()
        optimizer.step()
    # The outputs 2 x / r are clipped at 1, so r stops growing once 95 % of |x| are below r / 2.
    inside = int((2.0 * x.abs() / layer.analog_module.input_range < 0.999).sum())
    assert 38 <= inside < 40


def test_clipped_outputs_can_be_seen_only_without_noise_and_bound_management():
    config = clipping_config("pulsed")
    for change in (
        {"noise_management": NoiseManagementType.ABS_MAX},
        {"bound_management": BoundManagementType.ITERATIVE},
        {"is_perfect": True},
        {"out_bound": 0.0},
    ):
        other = config.mutable_copy()
        for name, value in change.items():
            setattr(other.forward, name, value)
        assert not other.pre_post.input_range.supports_manage_output_clipping(other)
        with pytest.raises(ConfigError, match="manage_output_clipping"):
            AnalogLinear(2, 2, rpu_config=other)
    assert config.pre_post.input_range.supports_manage_output_clipping(config)


@pytest.mark.parametrize("options", [{"gradient_relative": False}, {"output_min_percentage": 1.5}])
def test_impossible_ranges(options):
    with pytest.raises(ConfigError):
        InputRangeParameter(**options).check()
