"""How inference tiles read: the fused product against its parts, time-sliced IR drop, running means, refusals."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hwa_examples import hwa_config, layer_of, noisy_config

import rpu_sim
from aihw_torch.config import (
    IdealDevice,
    IOParameters,
    IOParametersIRDropT,
    NoiseManagementType,
    SingleRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    WeightClipType,
    WeightModifierType,
)
from aihw_torch.errors import NonFiniteError, ShapeError
from aihw_torch.inference import calibrate
from aihw_torch.nn import AnalogLinear
from aihw_torch.tiles import input_range as ranges


@pytest.mark.parametrize("clipped", [True, False], ids=["clipped", "inside"])
@pytest.mark.parametrize("for_x", [True, False], ids=["x", "first layer"])
@pytest.mark.parametrize("per_sample", [True, False], ids=["copies", "copy"])
@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", ""])
@pytest.mark.parametrize("large", [True, False], ids=["by torch", "by the core"])
def test_one_node_has_the_gradients_of_its_parts(
    clipped: bool, for_x: bool, per_sample: bool, scaled: bool, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients of input, weight, range and bias are those of torch's own autograd through the formula."""
    if large:  # for which torch's products are taken
        monkeypatch.setattr("aihw_torch.inference.layer._LARGE_PRODUCT", 0)
    torch.manual_seed(5)
    config = hwa_config()
    config.mapping.weight_scaling_omega, config.mapping.weight_scaling_columnwise = (0.8 if scaled else 0.0), True
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    config.modifier.per_batch_sample = per_sample
    parameters = config.pre_post.input_range
    parameters.enable, parameters.init_from_data, parameters.decay = True, 0, 0.3
    parameters.input_min_percentage = 0.5
    layer = layer_of(config)
    tile = layer.analog_module
    tile.set_input_range(0.7 if clipped else 9.0)
    x, d = torch.randn(2, 4, 5, requires_grad=for_x), torch.randn(2, 4, 3)
    given = x.detach().clone().requires_grad_(for_x)
    w, b, r = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias, tile.input_range))
    scales = torch.ones(3) if tile.mapping_scales is None else tile.mapping_scales
    physical = w / scales.view(-1, 1)
    noise = tile._read_in_training.copy(physical.detach(), 8, (tile.seed, 0, 0)) - physical.detach()
    u, factor = ranges.apply(given, r, parameters)
    expected = torch.einsum("noi,ni->no", (physical + noise).expand(8, 3, 5), u.view(8, 5)).view(2, 4, 3)
    expected = expected * (scales * factor) + b
    expected.backward(d)
    y = layer(x)
    torch.testing.assert_close(y, expected)
    y.backward(d)
    found = [layer.weight.grad, layer.bias.grad, tile.input_range.grad]
    torch.testing.assert_close(found, [w.grad, b.grad, r.grad], rtol=1e-4, atol=1e-5)
    if for_x:
        torch.testing.assert_close(x.grad, given.grad)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    layer, x = layer_of(noisy_config()), torch.randn(4, 5, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


def test_a_call_that_fails_did_not_happen() -> None:
    layer = layer_of(noisy_config())
    tile, x = layer.analog_module, torch.randn(4, 5)
    with pytest.raises(NonFiniteError):
        layer(torch.full((4, 5), torch.nan))
    assert int(tile.forward_step) == 0
    assert torch.equal(layer.train(False)(x), layer_of_equal(layer)(x))


def layer_of_equal(layer: AnalogLinear) -> AnalogLinear:
    """A copy whose next call is its first."""
    twin = copy.deepcopy(layer)
    twin.analog_module.forward_step.fill_(0)
    return twin


def test_a_clip_leaves_the_bits_of_what_it_does_not_clip() -> None:
    config = hwa_config()
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.9
    config.mapping.weight_scaling_omega, config.mapping.weight_scaling_columnwise = 1.0, True
    layer = layer_of(config, bias=False)
    layer.set_weights(start := torch.randn(3, 5))
    layer(torch.randn(1, 5))
    inside = start.abs() / start.abs().amax(1, keepdim=True) <= 0.9
    assert 0 < int(inside.sum()) < 15
    assert torch.equal(layer.weight.detach()[inside], start[inside])


# ---- IR drop in time slices


def time_sliced() -> TorchInferenceRPUConfigIRDropT:
    config = TorchInferenceRPUConfigIRDropT()
    config.forward = IOParametersIRDropT(inp_res=1 / 6, ir_drop_segments=4, ir_drop_rs=30.0, adc_quantization=False)
    config.mapping.max_input_size = 64
    return config


def test_evaluation_has_time_slices_in_an_array_of_the_size_that_the_mapping_says() -> None:
    """The bits of an `rpu_sim.Tile` with the same mapping; another size of the array gives other numbers."""
    config = time_sliced()
    assert isinstance(TorchInferenceRPUConfigIRDropT().forward, IOParametersIRDropT)
    layer, x = layer_of(config, bias=False).eval(), torch.randn(6, 5)
    found = []
    for size in (64, 512):
        mapping = rpu_sim.config.MappingParameter(max_input_size=size)
        tile = rpu_sim.Tile(
            3, 5, SingleRPUConfig(forward=config.forward, device=IdealDevice(), mapping=mapping), seed=7
        )
        tile.weights[...] = layer.weight.detach().numpy()
        found.append(tile.forward(x, step=0))
    layer.analog_module.seed = 7
    y = layer(x).detach()
    assert torch.equal(y, found[0])
    assert not torch.allclose(y, found[1])


def test_training_reads_without_time_slices() -> None:
    """The chain without IR drop, bit for bit, so that a training step costs what it costs without."""
    config = time_sliced()
    plain = IOParameters(inp_res=1 / 6)
    layer, twin = layer_of(config, bias=False), layer_of(hwa_config(forward=plain), bias=False)
    twin.set_weights(layer.get_weights()[0])
    x = torch.randn(6, 5)
    assert torch.equal(layer(x), twin(x))
    assert not torch.equal(layer.eval()(x), twin.eval()(x))


# ---- the running mean of a noise management


def averaging(kind: str) -> AnalogLinear:
    io = IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX, out_noise=0.0)
    config = SingleRPUConfig(forward=io, backward=io) if kind == "pulsed" else hwa_config(forward=io)
    return AnalogLinear(5, 3, rpu_config=config, seed=3)


def running_means(layer: AnalogLinear) -> list[float]:
    return [float(values) for name, values in layer.state_dict().items() if "running_mean" in name]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["pulsed", "hardware-aware"])
def test_running_means_follow_training_only(kind: str) -> None:
    """Evaluation, its gradients and compiled evaluation read the mean and leave it; compiled training is refused."""
    layer = averaging(kind)
    x = torch.randn(4, 5, requires_grad=True)
    start = running_means(layer)
    layer(x).sum().backward()
    trained = running_means(layer)
    assert all(before != after for before, after in zip(start, trained, strict=True))
    layer.eval()
    layer(10.0 * x).sum().backward()
    assert running_means(layer) == trained
    torch.compiler.reset()
    run, twin = torch.compile(layer, fullgraph=True, backend="aot_eager"), copy.deepcopy(layer)
    with torch.no_grad():
        torch.testing.assert_close(run(5.0 * x), twin(5.0 * x), rtol=0.0, atol=0.0)
    assert running_means(layer) == trained
    layer.train()
    with pytest.raises(Exception, match="AVERAGE_ABS_MAX, whose running mean changes"):
        run(x)
    torch.compiler.reset()


def test_readings_can_be_copied() -> None:
    layer = layer_of(noisy_config())
    reading = layer.analog_module._read_in_training
    x, w = torch.randn(4, 5), torch.randn(3, 5)
    for twin in (copy.deepcopy(reading), pickle.loads(pickle.dumps(reading))):
        assert torch.equal(twin.product(x, w, (1, 2, 0)), reading.product(x, w, (1, 2, 0)))
        assert twin.description == reading.description


# ---- read noise of every product


def drifted_layer(**fields: object) -> AnalogLinear:
    torch.manual_seed(2)
    config = hwa_config(read_noise_per_mvm=True, **fields)
    config.mapping.weight_scaling_omega = 1.0
    layer = layer_of(config, out=4, inputs=6, bias=True).eval()
    layer.drift_analog_weights(3600.0)
    return layer


def test_every_product_draws_read_noise() -> None:
    """Mean and variance of 4e4 reads of one input are those of the devices; 5 sigma of both."""
    layer = drifted_layer()
    tile, x, n = layer.analog_module, torch.randn(6), 40_000
    mean, variance = tile.programmed.devices.read_parts_at(3600.0)
    y = layer(x.expand(n, 6)).detach()
    factor = tile.mapping_scales * tile.alpha
    expected = (x @ mean.T) * factor + tile.bias.detach()
    spread = torch.sqrt(x.square() @ variance.T) * factor.abs()
    assert ((y.mean(0) - expected).abs() < 5.0 * spread / n**0.5).all()
    torch.testing.assert_close(y.std(0), spread.expand(4), rtol=5.0 / (2 * n) ** 0.5, atol=0.0)
    assert not torch.equal(layer(x[None]), layer(x[None]))
    layer.train()
    assert torch.equal(layer(x[None]), layer(x[None]))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_read_noise_survives_state_copies_and_compilers() -> None:
    layer = drifted_layer()
    other = layer_of(layer.analog_module.rpu_config.mutable_copy(), out=4, inputs=6, seed=99).eval()
    other.load_state_dict(layer.state_dict())
    torch.compiler.reset()
    twins = [copy.deepcopy(layer), other, torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")]
    x = torch.randn(3, 6)
    with torch.no_grad():
        for _ in range(2):
            y = layer(x)
            for twin in twins:
                torch.testing.assert_close(twin(x), y, rtol=1e-5, atol=1e-6)
    torch.compiler.reset()


def test_read_noise_follows_a_change_of_the_converters() -> None:
    layer = drifted_layer()
    twin, x = copy.deepcopy(layer), torch.randn(3, 6)
    layer.analog_module.reconfigure(forward=IOParameters(out_noise=0.0, out_bound=0.01))
    assert (layer(x) - layer.bias).abs().max() < (twin(x) - twin.bias).abs().max()


# ---- refusals


def test_states_of_the_other_kind_of_tile() -> None:
    software, pulsed = layer_of(hwa_config()), AnalogLinear(5, 3, rpu_config=SingleRPUConfig(), seed=1)
    software.eval().drift_analog_weights(10.0)
    before = copy.deepcopy(software.state_dict()), copy.deepcopy(pulsed.state_dict())
    with pytest.raises(RuntimeError, match="trained in software, and this one is trained by pulses; make the layer"):
        pulsed.load_state_dict(software.state_dict())
    with pytest.raises(
        RuntimeError, match="trained by pulses, and the weight of this one is trained in software; make"
    ):
        software.load_state_dict(pulsed.state_dict())
    torch.testing.assert_close((software.state_dict(), pulsed.state_dict()), before, rtol=0, atol=0, equal_nan=True)


def test_calibration_data_of_the_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"takes inputs \[..., 5\], not \(3, 4\)"):
        calibrate(layer_of(hwa_config()), [torch.randn(3, 4)])
