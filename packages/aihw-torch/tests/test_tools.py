"""analog_summary and explain: numbers that can be counted by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aihw_torch.config import (
    ConstantStepDevice,
    InferenceRPUConfig,
    InputRangeParameter,
    IOParameters,
    MappingParameter,
    NoiseManagementType,
    SingleRPUConfig,
    SoftBoundsDevice,
    UnitCellRPUConfig,
    VectorUnitCell,
    WeightClipType,
    WeightModifierType,
)
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogLSTM, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import WeightTile
from aihw_torch.utils.analog_info import analog_summary
from aihw_torch.utils.explain import explain


def network():
    mapping = MappingParameter(max_input_size=32, max_output_size=16)
    return AnalogSequential(
        AnalogConv2d(2, 4, 3, rpu_config=SingleRPUConfig(mapping=mapping)),
        nn.BatchNorm2d(4),
        nn.Dropout(),
        nn.Flatten(),
        AnalogLinear(36, 20, rpu_config=SingleRPUConfig(mapping=mapping)),
        nn.Linear(20, 3),
    )


def test_summary_counts():
    info = analog_summary(network(), (5, 2, 5, 5))
    layers = info.layer_summary_dict()
    assert list(layers) == ["0", "1", "4", "5"]
    assert layers["0"]["input_size"] == (5, 2, 5, 5)
    assert layers["0"]["output_size"] == (5, 4, 3, 3)
    assert layers["0"]["kernel_size"] == (3, 3)
    assert layers["0"]["reuse_factor"] == 5 * 9
    assert layers["4"]["reuse_factor"] == 5
    assert layers["4"]["num_tiles"] == 4
    assert (info.total_tile_number, info.total_nb_analog) == (5, 2)
    assert info.analog_parameters == 4 * 18 + 36 * 20
    assert info.digital_parameters == 4 + (4 + 4) + 20 + (20 * 3 + 3)
    tiles = info.tiles_summary_dict()
    assert tiles["0.analog_module"]["utilization"] == pytest.approx(100 * 18 * 4 / (32 * 16))
    assert tiles["4.analog_module.array.0.0"]["is_mapped"]
    assert (tiles["4.analog_module.array.0.0"]["log_in_size"], tiles["4.analog_module.array.0.0"]["phy_in_size"]) == (
        18,
        32,
    )
    text = str(info)
    assert "2 analog layers on 5 tiles" in text
    assert "5x2x5x5" in text


def test_summary_leaves_no_trace():
    model = network()
    model[1].eval()
    x = torch.randn(2, 2, 5, 5)
    before = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    analog_summary(model, x)
    assert [m.training for m in model] == [True, False, True, True, True, True]
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.testing.assert_close(model.state_dict(), before[0], rtol=0, atol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_summary_without_inputs_and_of_layers_with_other_outputs():
    info = analog_summary(AnalogSequential(AnalogLinear(3, 2, rpu_config=SingleRPUConfig(tile_class=WeightTile))))
    assert info.layer_summary[0].input_size is None
    assert info.analog_parameters == 6
    lstm = AnalogLSTM(3, 5)
    info = analog_summary(lstm, (4, 2, 3))
    assert [layer.reuse_factor for layer in info.layer_summary] == [8, 8]


def test_summary_counts_pulses():
    model = AnalogSequential(AnalogLinear(3, 2))
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    (tile,) = analog_summary(model).tiles_summary_dict().values()
    assert tile["pulses"] == model[0].analog_module.pulse_counts
    assert sum(tile["pulses"]) > 0


# ---- explain


def single(**options):
    device = ConstantStepDevice(w_max=2.0, w_min=-2.0)
    layer = AnalogLinear(2, 1, False, SingleRPUConfig(device=device, forward=IOParameters(**options)))
    layer.set_weights(torch.tensor([[0.5, 0.25]]))
    return layer


def test_full_scale_steps_and_noise():
    """Inputs up to 4: the DAC has 127 steps over +-4, the ADC 511 over +-12 * 4, noise of 0.06 * 4."""
    layer = single()
    with explain(layer) as explanation:
        layer(torch.tensor([[4.0, 1.0]]))
    report = explanation.tiles["analog_module"].forward
    assert report.scale == 4.0
    assert report.input_lsb == pytest.approx(8.0 / 126)
    assert report.output_full_scale == pytest.approx(48.0)
    assert report.output_lsb == pytest.approx(96.0 / 510)
    assert report.noise_in_lsb == pytest.approx(0.06 / (24.0 / 510))
    assert report.active == ["input quantisation", "output quantisation", "output noise"]
    assert report.idle == ["input clipping", "output saturation"]
    assert explanation.tiles["analog_module"].backward.calls == 0
    assert "never: input clipping, output saturation" in str(explanation)


def test_clipping_and_saturation_are_fractions():
    layer = single(noise_management=NoiseManagementType.NONE, out_bound=0.6, inp_res=-1, out_res=-1, out_noise=0.0)
    with explain(layer) as explanation:
        layer(torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.5, 0.5], [0.0, 0.0]]))
    report = explanation.tiles["analog_module"].forward
    assert report.inputs_clipped == 1 / 8
    assert report.outputs_saturated == 1 / 4
    assert report.active == ["input clipping", "output saturation"]
    assert report.noise_in_lsb == 0.0


def test_input_ranges_count_as_clipping():
    config = SingleRPUConfig(forward=IOParameters(noise_management=NoiseManagementType.NONE))
    config.pre_post.input_range = InputRangeParameter(enable=True, init_value=2.0, init_from_data=0)
    layer = AnalogLinear(2, 1, False, config)
    with explain(layer) as explanation:
        layer(torch.tensor([[3.0, 1.0]]))
    assert explanation.tiles["analog_module"].forward.inputs_clipped == 0.5


def test_expected_pulses():
    """A gradient of 2 on one device and 1 on the other, lr 0.01, steps of 0.001: 20 and 10 pulses."""
    layer = single()
    with explain(layer, lr=0.01) as explanation:
        layer(torch.tensor([[2.0, 1.0]])).sum().backward()
    update = explanation.tiles["analog_module"].update
    assert update.max_pulses == pytest.approx(20.0)
    assert update.mean_pulses == pytest.approx(15.0)
    assert update.beyond_trains == 0.0
    assert explanation.tiles["analog_module"].backward.samples == 1
    assert "15 pulses per device and step (at most 20)" in str(explanation)
    with explain(layer, lr=0.02) as explanation:
        pass
    assert explanation.tiles["analog_module"].update.beyond_trains == 0.5  # 40 and 20 of 31


def test_flaws_of_an_update():
    """What the device has, and how many devices are at a bound; cells count every device of theirs."""
    alike = {"dw_min_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "up_down_dtod": 0.0}
    device = ConstantStepDevice(dw_min_std=0.0, lifetime=100.0, **alike)
    layer = AnalogLinear(2, 1, False, SingleRPUConfig(device=device))
    layer.set_weights(torch.tensor([[0.6, 0.1]]))
    with explain(layer, lr=0.01) as explanation:
        layer(torch.tensor([[2.0, 1.0]])).sum().backward()
    update = explanation.tiles["analog_module"].update
    assert update.active == ["finite steps", "stochastic pulses", "decay", "saturated devices"]
    assert update.saturated == 0.5
    assert "50.0 % at a bound; active: finite steps, stochastic pulses, decay" in str(explanation)
    noisy = SoftBoundsDevice(write_noise_std=0.1, corrupt_devices_prob=0.1, diffusion=0.01, w_max=0.9)
    layer = AnalogLinear(2, 1, False, UnitCellRPUConfig(device=VectorUnitCell([noisy, device])))
    with explain(layer, lr=0.01) as explanation:
        layer(torch.tensor([[2.0, 1.0]])).sum().backward()
    assert explanation.tiles["analog_module"].update.active[:8] == [
        "finite steps",
        "stochastic pulses",
        "cycle-to-cycle noise",
        "device-to-device variation",
        "asymmetric steps",
        "write noise",
        "stuck devices",
        "diffusion",
    ]


def test_flaws_of_weights_and_chains():
    """A modifier acts in training, programming errors and drift in evaluation."""
    config = InferenceRPUConfig(forward=IOParameters(r_series=0.1, v_offset_std=0.1, inp_asymmetry=0.1))
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    config.clip.type = WeightClipType.LAYER_GAUSSIAN
    layer = AnalogLinear(2, 1, False, config)
    with explain(layer) as explanation:
        layer(torch.ones(1, 2))
    active = explanation.tiles["analog_module"].forward.active
    assert {"input asymmetry", "voltage offsets", "series resistance", "weight clip", "weight modifier"} <= set(active)
    drift_analog_weights(layer.eval(), 100.0)
    with explain(layer) as explanation:
        layer(torch.ones(1, 2))
    active = explanation.tiles["analog_module"].forward.active
    assert active[-3:] == ["weight clip", "programming errors", "drift"]


def test_gradients_that_cannot_move_a_device_warn():
    layer = AnalogLinear(2, 1, False, SingleRPUConfig(device=ConstantStepDevice(dw_min=0.1)))
    sentence = r"no device of analog_module gets more than 0\.02 pulses.*learning rate"
    with pytest.warns(UserWarning, match=sentence), explain(layer, lr=0.001):
        layer(torch.tensor([[2.0, 1.0]])).sum().backward()


def test_a_step_inside_of_the_block_warns():
    layer = single()
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)

    def whole_step():
        with explain(layer, lr=0.1):
            layer(torch.ones(3, 2)).sum().backward()
            optimizer.step()

    with pytest.warns(UserWarning, match=r"gradient of analog_module is gone.*after the block"):
        whole_step()


def test_explain_removes_its_hooks_and_changes_nothing():
    layer = single()
    twin, x = copy.deepcopy(layer), torch.randn(3, 2)
    with explain(layer):
        y = layer(x)
    torch.testing.assert_close(y, twin(x), rtol=0, atol=0)
    assert not layer.analog_module._forward_hooks
    torch.testing.assert_close(layer.state_dict(), twin.state_dict(), rtol=0, atol=0)


def test_exact_tiles_are_called_exact():
    layer = single(is_perfect=True)
    with explain(layer) as explanation:
        layer(torch.ones(3, 2))
    assert "exact, 3 samples" in str(explanation)
