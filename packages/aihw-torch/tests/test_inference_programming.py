"""Programming, drift and compensation of inference tiles; devices with a clock; evaluation over time."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from hwa_examples import hwa_config, layer_of, noisy_config
from torch import nn

import rpu_sim
from aihw_inference import (
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    PerColumnDriftCompensation,
    Philox,
    ReRamWan2022NoiseModel,
    StateIndependentNoiseModel,
    optimize_programming,
    program,
)
from aihw_inference.errors import TimeError
from aihw_torch.config import ConstantStepDevice, InferenceRPUConfig, IOParameters, SingleRPUConfig, WeightNoiseType
from aihw_torch.errors import ConfigError, StateError
from aihw_torch.inference import (
    DriftTable,
    ModelDevices,
    WeightProgrammingOptimizer,
    accuracy,
    drift_analog_weights,
    evaluate_over_time,
    program_analog_weights,
)
from aihw_torch.nn import AnalogConv2d, AnalogConvTranspose2d, AnalogLinear, AnalogSequential
from aihw_torch.nn.base import analog_tiles


def programmed_layer(**fields) -> AnalogLinear:
    layer = layer_of(hwa_config(**fields), out=20, inputs=30, bias=False)
    layer.set_weights(torch.clamp(torch.randn(20, 30) * 0.3, -1.0, 1.0))
    return layer.eval()


def test_what_is_programmed_is_a_programmed_array() -> None:
    """The devices are those of aihw_inference for the same seed; drift reads them; the trained weight stays."""
    layer = programmed_layer(drift_compensation=None)
    trained, tile = layer.weight.detach().clone(), layer.analog_module
    tile.program_weights(seed=5)
    state = program(trained, PCMLikeNoiseModel(), rng=Philox(5))
    x = torch.randn(4, 30)
    torch.testing.assert_close(layer(x), x @ state.programmed_weights().T)
    for number, t in enumerate((3600.0, 1.0, 3600.0)):
        layer.drift_analog_weights(t)
        torch.testing.assert_close(layer(x), x @ state.weights_at(t, repeat=number).T)
    assert torch.equal(layer.weight, trained)
    assert tile.programming_state == "drifted"


def test_every_programming_is_another_chip_and_every_drift_another_read() -> None:
    layer = programmed_layer()
    tile, found = layer.analog_module, []
    for _ in range(2):
        program_analog_weights(layer)
        assert tile.programming_state == "programmed"
        for _ in range(2):
            drift_analog_weights(layer, 60.0)
            found.append(tile.read_programmed())
    assert len({round(float(w.sum()), 6) for w in found}) == 4
    program_analog_weights(layer, seed=3)
    first = tile.read_programmed()
    program_analog_weights(layer, seed=3)
    assert torch.equal(first, tile.read_programmed())


@pytest.mark.parametrize(
    "compensation",
    [GlobalDriftCompensation(), PerColumnDriftCompensation(), GlobalDriftCompensationWithExactReference()],
    ids=lambda c: type(c).__name__,
)
def test_compensation_with_exact_reads_has_a_closed_form(compensation) -> None:
    """alpha = sum |W_0| / sum |W_t|, over the matrix or over each output; the reference is programmed or ideal."""
    layer = programmed_layer(drift_compensation=compensation)
    tile = layer.analog_module
    tile.program_weights()
    exact = isinstance(compensation, GlobalDriftCompensationWithExactReference)
    start = (layer.weight.detach() if exact else tile.programmed.weights).abs()
    tile.drift_weights(86400.0)
    now = tile.programmed.weights.abs()
    axes = (1,) if isinstance(compensation, PerColumnDriftCompensation) else (0, 1)
    torch.testing.assert_close(tile.alpha, start.mean(axes) / now.mean(axes), rtol=1e-5, atol=0.0)
    x = torch.randn(3, 30)
    torch.testing.assert_close(layer(x), (x @ tile.programmed.weights.T) * tile.alpha)
    torch.testing.assert_close(layer(x), x @ tile.read_programmed().T, rtol=1e-5, atol=1e-5)
    layer.train()
    torch.testing.assert_close(layer(x), x @ layer.weight.T)  # training knows nothing of it


def test_compensation_acts_on_channels_of_convolutions() -> None:
    """7 channels and outputs of 7 x 7: the factor must not reach the width."""
    config = hwa_config(drift_compensation=PerColumnDriftCompensation())
    layer = AnalogConv2d(2, 7, 3, bias=False, rpu_config=config, seed=1).eval()
    layer.drift_analog_weights(1e6)
    weight = layer.analog_module.read_programmed().view(7, 2, 3, 3)
    x = torch.randn(2, 2, 9, 9)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, weight), rtol=1e-4, atol=1e-5)


def test_compensation_acts_on_channels_of_transposed_convolutions() -> None:
    """With one drift exponent for all devices and no noise, the compensated layer is the layer before the drift."""
    model = StateIndependentNoiseModel(prog_noise_scale=0.0, drift_nu_std=0.0, read_noise_scale=0.0)
    config = hwa_config(noise_model=model, drift_compensation=PerColumnDriftCompensation())
    layer = AnalogConvTranspose2d(2, 7, 3, bias=False, rpu_config=config, seed=1).eval()
    x = torch.randn(2, 2, 5, 5)
    before = layer(x)
    layer.drift_analog_weights(1e6)
    assert layer.analog_module.alpha.shape == (7 * 3 * 3,)  # the outputs of its matrix, before they are added
    assert float(layer.analog_module.alpha.min()) > 2.0
    torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)


def test_the_baseline_sees_the_converters() -> None:
    """With an output noise of 10 the readout of the baseline is noise: 10 sqrt(2 / pi), +-5 sigma of 600 reads."""
    config = hwa_config(perfect=False)
    config.forward = IOParameters(out_noise=10.0, out_res=-1.0, inp_res=-1.0, out_bound=0.0)
    layer = layer_of(config, out=20, inputs=30, bias=False).eval()
    layer.program_analog_weights()
    spread = 10.0 * np.sqrt((1 - 2 / np.pi) / 600)
    assert float(layer.analog_module.programmed.baseline) == pytest.approx(10.0 * np.sqrt(2 / np.pi), abs=5 * spread)


def test_training_after_programming_is_not_lost() -> None:
    layer = programmed_layer()
    drift_analog_weights(layer, 3600.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer.train()
    layer(torch.randn(5, 30)).square().sum().backward()
    optimizer.step()
    trained = layer.weight.detach().clone()
    layer.eval()
    assert layer.analog_module.programming_state == "target"
    x = torch.randn(3, 30)
    torch.testing.assert_close(layer(x), x @ trained.T)
    drift_analog_weights(layer, 3600.0)  # programs the new weights
    torch.testing.assert_close(layer.analog_module.programmed.devices.weights, trained)
    layer.set_weights(torch.zeros(20, 30))
    assert layer.analog_module.programming_state == "target"


def test_programming_what_drifted() -> None:
    layer = programmed_layer(drift_compensation=None)
    layer.drift_analog_weights(1e7)
    drifted = layer.analog_module.programmed.weights.clone()
    layer.analog_module.program_weights(from_reference=False)
    assert torch.equal(layer.analog_module.programmed.devices.weights, drifted)


def test_a_noise_model_given_later_stays() -> None:
    layer = programmed_layer()
    layer.program_analog_weights(HermesNoiseModel())
    assert layer.analog_module.rpu_config.noise_model == HermesNoiseModel()


@pytest.mark.parametrize("perfect", [True, False])
def test_the_state_holds_the_devices(perfect: bool) -> None:
    """A model that loads it reads the same now and draws the same reads later; plain tensors, without pickle."""
    layer = layer_of(hwa_config(perfect) if perfect else noisy_config(), out=20, inputs=30).eval()
    layer.drift_analog_weights(3600.0)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = layer_of(hwa_config(perfect) if perfect else noisy_config(), out=20, inputs=30, seed=99).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    twin, x = copy.deepcopy(layer), torch.randn(5, 30)
    for t in (None, 1e6):
        results = []
        for model in (layer, other, twin):
            if t is not None:
                model.drift_analog_weights(t)
            results.append(model(x))
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])


def test_loading_a_state_that_was_not_programmed_forgets_the_devices() -> None:
    layer, other = programmed_layer(), programmed_layer()
    layer.drift_analog_weights(3600.0)
    layer.load_state_dict(other.state_dict())
    assert layer.analog_module.programming_state == "target"


def test_misuse_of_programming() -> None:
    layer = programmed_layer()
    with pytest.raises(StateError, match="not programmed"):
        layer.analog_module.read_programmed()
    with pytest.raises(TimeError, match="at least 0"):
        layer.drift_analog_weights(-1.0)
    layer.drift_analog_weights(1.0)
    before = layer.analog_module.read_programmed()
    with pytest.raises(TimeError, match="at least 0"):
        layer.drift_analog_weights(float("nan"))
    assert torch.equal(layer.analog_module.read_programmed(), before)
    layer.train()
    for call in (program_analog_weights, drift_analog_weights):
        with pytest.raises(StateError, match="training mode"):
            call(layer)
    with pytest.raises(StateError, match="no inference tile"):
        program_analog_weights(nn.Linear(2, 2).eval())
    wan = programmed_layer(noise_model=ReRamWan2022NoiseModel())
    with pytest.raises(TimeError):
        wan.drift_analog_weights(5.0)


def test_times_that_are_none() -> None:
    """Lists where one time is needed, and what is no time; nothing is read."""
    layer, data = programmed_layer(), [(torch.randn(2, 30), torch.zeros(2, dtype=torch.int64))]
    for bad in ([1.0, 2.0], (1.0,), torch.tensor([1.0, 2.0]), np.array([1.0, 2.0])):
        with pytest.raises(TimeError, match=r"one number of seconds .* Drift to one time after another, or use eval"):
            drift_analog_weights(layer, bad)
    for bad in ("1 h", None):
        with pytest.raises(TimeError, match="one number of seconds"):
            drift_analog_weights(layer, bad)
    assert layer.analog_module.programmed is None
    for times in (5.0, ["1 h"], [-1.0], [1.0, float("nan")]):
        with pytest.raises(TimeError, match="seconds after programming"):
            evaluate_over_time(layer, data, times, 2)
    with pytest.raises(ConfigError, match=r"not 2\.5 and 1"):
        evaluate_over_time(layer, data, [1.0], 2.5)
    devices = ModelDevices(layer)
    devices.program()
    with pytest.raises(ConfigError, match="not '1 h'"):
        devices.advance("1 h")
    assert devices.time == 0.0


# ---- devices with a clock


def pulsed_model() -> AnalogSequential:
    config = SingleRPUConfig(device=ConstantStepDevice(), forward=IOParameters(is_perfect=True))
    return AnalogSequential(
        AnalogLinear(30, 10, True, config, seed=1), nn.ReLU(), AnalogLinear(10, 4, True, config, seed=2)
    )


def test_devices_after_training_in_memory() -> None:
    """Weights that pulses left drift as any other: the same numbers as programming their matrix."""
    model = pulsed_model().eval()
    names = [name for name, _ in model.named_analog_tiles()]
    weights = [tile.weight.detach().clone() for tile in model.analog_tiles()]
    devices = ModelDevices(model, PCMLikeNoiseModel(), GlobalDriftCompensation(), seed=4)
    devices.program()
    devices.advance(60.0)
    devices.advance(3540.0)
    read = devices.read()
    for name, weight in zip(names, weights, strict=True):
        seed = rpu_sim.derive_seed(4, 0, name)
        state = program(weight, PCMLikeNoiseModel(), rng=Philox(seed))
        later = state.weights_at(3600.0)
        alpha = state.programmed_weights().abs().mean() / later.abs().mean()
        torch.testing.assert_close(read[name], later * alpha, rtol=1e-5, atol=1e-7)
    x = torch.randn(3, 30)
    exact = model(x)
    with devices.loaded():
        assert not torch.allclose(model(x), exact, atol=1e-3)
    torch.testing.assert_close(model(x), exact)
    for tile, weight in zip(model.analog_tiles(), weights, strict=True):
        assert torch.equal(tile.weight, weight)


def test_devices_of_inference_tiles() -> None:
    layer = programmed_layer()
    devices = ModelDevices(layer, seed=4)
    with pytest.raises(StateError, match=r"call program\(\) first"):
        devices.read()
    devices.program()
    devices.advance(100.0)
    read = devices.read()
    assert layer.analog_module.programmed.t_inference == devices.time == 100.0
    x = torch.randn(2, 30)
    torch.testing.assert_close(layer(x), x @ read["analog_module"].T, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="time only advances"):
        devices.advance(-1.0)
    with pytest.raises(StateError, match="no analog tile"):
        ModelDevices(nn.Linear(2, 2))


# ---- evaluation over time


def small_task(model: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches whose targets are what the model finds now."""
    x = torch.randn(200, 30)
    with torch.no_grad():
        return [(part, model(part).argmax(-1)) for part in x.split(100)]


@pytest.mark.parametrize("kind", ["inference", "in_memory"])
def test_evaluation_over_time(kind: str) -> None:
    """Accuracy falls with time; chips differ; the model is as it was; fewer chips are the first of many."""
    if kind == "inference":
        config = InferenceRPUConfig(forward=IOParameters(is_perfect=True), drift_compensation=None)
        model = AnalogSequential(
            AnalogLinear(30, 10, True, config, seed=1), nn.ReLU(), AnalogLinear(10, 4, True, config)
        )
    else:
        model = pulsed_model()
    loader = small_task(model.eval())
    model.train()
    model[1].eval()  # as a frozen normalisation is
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    table = evaluate_over_time(model, loader, [1e8, 0.0], 8, seed=1)
    assert table.values.shape == (8, 2)
    assert table.mean[1] > 0.8 > table.mean[0] or table.mean[1] > table.mean[0] + 3 * table.standard_error.sum()
    assert len(set(table.values[:, 0])) > 1
    fewer = evaluate_over_time(model, loader, [0.0, 1e8], 3, seed=1)
    np.testing.assert_array_equal(fewer.values[:, 0], table.values[:3, 1])
    assert [module.training for module in model.modules()] == modes
    for name, values in model.state_dict().items():
        assert torch.equal(values, state[name]), name
    with pytest.raises(TimeError, match="not '12'"):
        evaluate_over_time(model, loader, "12", 3)
    with pytest.raises(ConfigError, match="at least one chip and one time"):
        evaluate_over_time(model, loader, [], 3)
    with pytest.raises(ConfigError, match="no sample"):
        accuracy(model, [])


class Recurrent(nn.Module):
    """The same tile several times for each batch, then a convolution and another layer."""

    def __init__(self, config) -> None:
        super().__init__()
        self.cell = AnalogLinear(6, 6, True, config(), seed=1)
        self.conv = AnalogConv2d(1, 2, (2, 3), rpu_config=config(), seed=2)
        self.last = AnalogLinear(32, 3, True, config(), seed=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = [x[:, 0]]
        for n in range(1, x.shape[1]):
            states.append(self.cell(states[-1]).clamp(-1.0, 1.0) + x[:, n])
        return self.last(self.conv(torch.stack(states, 1)[:, None]).flatten(1))


def noise_in_every_product(kind: str):
    if kind == "pulsed":
        return SingleRPUConfig(
            forward=IOParameters(
                out_noise=0.1, inp_noise=0.1, w_noise=0.05, w_noise_type=WeightNoiseType.ADDITIVE_CONSTANT
            )
        )
    config = InferenceRPUConfig(forward=IOParameters(out_noise=0.1, inp_noise=0.1))
    config.noise_model = PCMLikeNoiseModel()
    config.read_noise_per_mvm = kind == "read"
    return config


@pytest.mark.parametrize("kind", ["pulsed", "inference", "read"])
def test_the_noise_of_an_evaluation_follows_the_sample(kind: str) -> None:
    """Whatever the batches, every output of every chip at every time is the same; and no noise comes twice."""
    model, x = Recurrent(lambda: noise_in_every_product(kind)), torch.randn(24, 5, 6)
    x[5] = x[23]
    steps = [int(tile.forward_step) for tile in analog_tiles(model)]

    def outputs_with(batches: list[int]) -> torch.Tensor:
        found = list[torch.Tensor]()

        @torch.no_grad()
        def metric(model: nn.Module, loader: list[torch.Tensor]) -> float:
            found.append(torch.cat([model(part) for part in loader]))
            return 0.0

        evaluate_over_time(model, x.split(batches), [1.0, 100.0], 2, metric=metric)
        return torch.stack(found)

    whole = outputs_with([24])
    rounding = 1e-6 if kind == "read" else 0.0  # the variance of an output is a product of matrices in torch
    for batches in ([8, 8, 8], [7, 7, 7, 3], [1] * 24):
        torch.testing.assert_close(outputs_with(batches), whole, rtol=0.0, atol=rounding)
    assert len(whole.view(4 * 24, 3).unique(dim=0)) == 4 * 24
    assert steps == [int(tile.forward_step) for tile in analog_tiles(model)]
    assert all(tile.sample_count is None for tile in analog_tiles(model))


def test_the_table() -> None:
    values = np.array([[0.9, 0.8], [1.0, 0.6]])
    table = DriftTable((0.0, 2592000.0), values)
    np.testing.assert_allclose(table.mean, [0.95, 0.7])
    np.testing.assert_allclose(table.standard_error, [0.05, 0.1])
    assert str(table).splitlines()[2].split() == ["1", "month", "0.7000", "0.1000"]
    assert np.isnan(DriftTable((0.0,), values[:1, :1]).standard_error).all()
    axes = table.plot(label="x")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0 s", "1 month"]


def test_programming_optimizer() -> None:
    """It hands its options on: the same result as the function below it, and the baseline is honoured."""
    weights = torch.randn(20, 30)
    config = InferenceRPUConfig(drift_compensation=None)
    baseline = DualPairConductanceConverter([1.0, 1.0], 20.0, 1.0)
    options = {"nbins": 3, "test_out_features": 4, "test_in_features": 16, "minimize": lambda f, n, t: np.full(n, 0.3)}
    optimizer = WeightProgrammingOptimizer(weights, [1.0, None], config, [1.0, 60.0], baseline, **options)
    converter, success = optimizer.run_optimizer()
    expected = optimize_programming(
        weights,
        PCMLikeNoiseModel(),
        [1.0, 60.0],
        f_lst=[1.0, None],
        baseline=baseline,
        compensation=None,
        n_bins=3,
        test_shape=(4, 16),
        minimize=options["minimize"],
    )
    assert (converter, success) == (expected.converter, expected.success)
    assert (converter.g_min, converter.g_max) == (1.0, 20.0)
    layer = programmed_layer(noise_model=PCMLikeNoiseModel(g_converter=converter))
    layer.drift_analog_weights(60.0)
    assert layer.analog_module.programmed.devices.g_prog.shape == (4, 20, 30)
    with pytest.raises(TypeError, match="no option popsizes"):
        WeightProgrammingOptimizer(weights, [1.0], config, [1.0], baseline, popsizes=3)
