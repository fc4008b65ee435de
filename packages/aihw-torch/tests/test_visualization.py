"""Pulse responses: computed against closed forms, and plotted."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="plots need the extra 'plot'")
matplotlib.use("Agg")

import torch  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

from aihw_inference import PCMLikeNoiseModel  # noqa: E402
from aihw_torch.config import (  # noqa: E402
    ConstantStepDevice,
    FloatingPointDevice,
    FloatingPointRPUConfig,
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    VectorUnitCell,
)
from aihw_torch.errors import ConfigError, DeviceError, StateError  # noqa: E402
from aihw_torch.inference import program_analog_weights  # noqa: E402
from aihw_torch.nn import AnalogLinear, AnalogSequential  # noqa: E402
from aihw_torch.utils.visualization import (  # noqa: E402
    compute_pulse_response,
    compute_pulse_statistics,
    estimate_n_steps,
    get_tile_for_plotting,
    plot_device,
    plot_device_compact,
    plot_device_symmetry,
    plot_model_programming_error,
    plot_programming_error,
    plot_pulse_response,
    plot_pulse_statistics,
    plot_response_overview,
    plot_weight_drift,
    programming_error,
)

SAME = {"dw_min_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "up_down_dtod": 0.0, "dw_min_std": 0.0}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_constant_steps_go_up_to_the_bound_and_down_again():
    config = SingleRPUConfig(device=ConstantStepDevice(dw_min=0.1, w_min=-0.25, w_max=0.25, **SAME))
    tile = get_tile_for_plotting(config, 3, w_init=-0.2)
    trace = compute_pulse_response(tile, [1, 1, 1, 1, 1, -1, -1])
    assert trace.shape == (7, 3, 1)
    expected = np.array([-0.1, 0.0, 0.1, 0.2, 0.25, 0.15, 0.05], dtype=np.float32)
    np.testing.assert_allclose(trace, np.broadcast_to(expected[:, None, None], trace.shape), atol=1e-6)


def test_soft_bounds_shrink_the_step():
    # The step is dw_min (1 - w / w_max) up and dw_min (1 - w / w_min) down.
    config = SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.1, w_min=-1.0, w_max=1.0, **SAME))
    trace = compute_pulse_response(get_tile_for_plotting(config, 1, w_init=0.5), [1, -1]).ravel()
    np.testing.assert_allclose(trace, [0.55, 0.55 - 0.1 * 1.55], atol=1e-6)


def test_tiles_for_plotting():
    config = SingleRPUConfig(device=SoftBoundsDevice(w_min_dtod=0.0))
    tile = get_tile_for_plotting(config, 4)
    np.testing.assert_allclose(tile.get_weights()[0], np.full((4, 1), -0.6), rtol=1e-6)
    assert config.update.update_management  # the caller's configuration is not touched
    directions = np.repeat([1.0, -1.0], 50)
    quiet = [compute_pulse_response(get_tile_for_plotting(config, 4, noise_free=True), directions) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    with pytest.raises(DeviceError):
        get_tile_for_plotting(config, 4, use_cuda=True)


@pytest.mark.parametrize("up", [True, False])
def test_statistics_of_known_steps(up):
    # Steps of exactly 0.1 - 0.05 w up and -(0.1 + 0.05 w) down, from weights that lie densely around all nodes: a
    # straight line, which a symmetric kernel reproduces.
    trace, direction = np.zeros((2, 2001)), [1.0, 1.0 if up else -1.0]
    trace[0] = np.linspace(-3.0, 3.0, 2001)
    trace[1] = trace[0] + (0.1 - 0.05 * trace[0] if up else -0.1 - 0.05 * trace[0])
    nodes = np.linspace(-1.0, 1.0, 21)
    mean, std = compute_pulse_statistics(nodes, trace, direction, up, smoothness=0.1)
    np.testing.assert_allclose(mean, 0.1 - 0.05 * nodes if up else -0.1 - 0.05 * nodes, atol=1e-6)
    # The steps under the kernel, of width 0.1 std(nodes) / 21^(1/5), differ by 0.05 times that width.
    np.testing.assert_allclose(std, 0.05 * 0.1 * nodes.std() / 21**0.2, rtol=1e-3)


def test_number_of_steps():
    assert estimate_n_steps(SingleRPUConfig(device=ConstantStepDevice(dw_min=0.01, w_min=-0.5, w_max=0.5))) == 100
    for config in (FloatingPointRPUConfig(), SingleRPUConfig(device=IdealDevice())):
        with pytest.raises(ConfigError, match="n_steps"):
            estimate_n_steps(config)


def test_plots_return_what_they_draw():
    config = SingleRPUConfig(device=ConstantStepDevice(dw_min=0.05))
    direction = np.tile(np.repeat([1.0, -1.0], 10), 2)
    figure, axes = plt.subplots(1, 2)
    trace = plot_pulse_response(get_tile_for_plotting(config, 3), direction, axes=axes[0])
    assert trace.shape == (40, 3, 1)
    assert len(axes[0].lines) == 3
    nodes, mean, std = plot_pulse_statistics(trace, direction, True, num_nodes=20, axes=axes[1])
    assert nodes.shape == mean.shape == std.shape == (20,)
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), mean)
    figure.canvas.draw()


@pytest.mark.parametrize("w_noise", [0.0, 0.05])
def test_overview_of_a_device(w_noise):
    figure = plot_device(SoftBoundsDevice(dw_min=0.05, dw_min_std=0.0), w_noise, n_loops=2, n_steps=12, n_traces=3)
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 2]
    figure.canvas.draw()
    # The same devices twice; without cycle noise the first row differs by the noise of the read alone: 3 x 48 numbers,
    # whose spread is known to 1 / sqrt(288) = 6 %.
    first, second = (np.array([line.get_ydata() for line in axes.lines]) for axes in figure.axes[:2])
    assert (first - second).std() == pytest.approx(w_noise, rel=0.3)


def test_overview_of_what_has_no_bounds():
    with pytest.raises(ConfigError, match="n_steps"):
        plot_response_overview(FloatingPointRPUConfig(device=FloatingPointDevice()))


def test_compact_plot_has_traces_and_steps():
    device = ConstantStepDevice(dw_min=0.1, **SAME)
    figure = plot_device_compact(device, n_steps=8, n_traces=2, w_init=-0.5, color="k")
    traces, steps = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    np.testing.assert_allclose(traces.lines[0].get_ydata()[:3], [-0.4, -0.3, -0.2], atol=1e-6)
    assert np.interp(0.0, steps.lines[0].get_ydata(), steps.lines[0].get_xdata()) == pytest.approx(0.1, abs=1e-4)
    _, axes = plt.subplots(1, 2)
    assert plot_device_compact(VectorUnitCell([device, device]), n_steps=4, n_loops=1, axes=axes) is axes[0].figure
    figure.canvas.draw()


def test_alternating_pulses_end_at_the_symmetry_point():
    """Soft bounds -1 and 0.5 with equal steps at 0: up s (1 - 2 w), down s (1 + w), equal at w = 0."""
    device = SoftBoundsDevice(dw_min=0.05, **{**SAME, "dw_min_std": 0.0}, w_max=0.5, w_min=-1.0)
    figure = plot_device_symmetry(device, n_pulses=400, n_traces=1, w_init=0.4)
    trace = figure.axes[0].lines[0].get_ydata()
    assert trace[0] == pytest.approx(0.4 + 0.05 * 0.2)
    assert abs(trace[-1]) < 0.05


def test_programming_errors_of_a_noise_model():
    """sigma(g) of PCM at the largest conductance, in percent of it: the published polynomial, with 400 devices."""
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True), drift_compensation=None)
    targets, errors = programming_error(config, n_rows=400, n_bins=5)
    np.testing.assert_allclose(targets, [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert errors.shape == (400, 5)
    sigma = np.polyval(PCMLikeNoiseModel().prog_coeff[::-1], 1.0)  # uS, of 25
    # One device of the pair holds the weight, the other is at 0 with the noise of that, cut off below.
    assert errors[:, 4].std() == pytest.approx(100 * sigma / 25, rel=0.15)
    _, drifted = programming_error(config, n_rows=400, n_bins=5, t_inference=1e6)
    assert drifted[:, 4].mean() < -20.0
    axes = plot_programming_error(config, n_rows=3, n_bins=7, label="PCM", t_inference=10.0)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.linspace(-1.0, 1.0, 7), atol=1e-7)
    assert axes.get_legend().get_texts()[0].get_text() == "PCM"


def test_programming_errors_of_pulsed_devices():
    """A closed loop leaves about a step of 0.01 of weights up to 0.4: a few percent."""
    device = ConstantStepDevice(dw_min=0.01, **SAME)
    targets, errors = programming_error(device, (-0.4, 0.4), n_rows=4, n_bins=5, max_iter=400, tolerance=0.02)
    assert np.abs(errors).max() < 10.0
    assert targets[0] == pytest.approx(-0.4)
    with pytest.raises(StateError, match="only inference tiles drift"):
        programming_error(device, t_inference=1.0)
    with pytest.raises(DeviceError):
        plot_programming_error(device, use_cuda=True)


def test_programming_errors_of_a_model():
    model = AnalogSequential(
        AnalogLinear(20, 30, rpu_config=InferenceRPUConfig()), AnalogLinear(30, 4, rpu_config=InferenceRPUConfig())
    ).eval()
    with pytest.raises(StateError, match="not programmed"):
        plot_model_programming_error(model)
    program_analog_weights(model, seed=3)
    axes = plot_model_programming_error(model, n_bins=6, apply_weight_scaling=True, linestyle=":")
    assert [line.get_label() for line in axes.lines] == ["0.analog_module", "1.analog_module"]
    # All weights of one interval: the mean error is that of the array itself.
    axes = plot_model_programming_error(model[0], n_bins=1, axes=plt.figure().gca())
    tile = model[0].analog_module
    difference = tile.array_weight() - tile.physical_weight()
    expected = 100 * (difference.mean() / tile.physical_weight().abs().max()).item()
    assert axes.lines[0].get_ydata()[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_drift_of_weights():
    figure = plot_weight_drift(t_inference_list=[0.0, 100.0, 1e6], w_inits=[-0.5, 1.0], n_repeats=50)
    (axes,) = figure.axes
    first, last = (line.get_ydata() for line in axes.lines)
    assert first.shape == (3,)
    assert abs(last[2]) < abs(last[1]) < 1.05
    assert last[2] == pytest.approx(1e6**-0.05, abs=0.12)  # nu about 0.03 to 0.07 at the largest conductance
    assert len(plot_weight_drift(PCMLikeNoiseModel(), n_repeats=2).axes[0].lines) == 9
    assert torch.is_grad_enabled()
