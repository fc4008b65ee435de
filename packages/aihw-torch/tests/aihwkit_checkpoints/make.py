"""Make the checkpoints and what they should mean; run with the Python of an environment that has aihwkit.

The files hold nothing but states of small models: `python make.py` writes them beside this script.
"""

import json
from pathlib import Path

import torch
from aihwkit.nn import AnalogConv2d, AnalogConv2dMapped, AnalogLinear, AnalogSequential
from aihwkit.optim import AnalogSGD
from aihwkit.simulator.configs import (
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    InferenceRPUConfig,
    LinearStepDevice,
    MixedPrecisionCompound,
    PowStepDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
)
from aihwkit.simulator.presets import TikiTakaEcRamPreset

HERE = Path(__file__).parent
ONE_PULSE = UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


def config_of(cls, *, bias=True, limit=512, **fields):
    config = cls(**fields)
    config.forward.out_noise = 0.02
    config.mapping.digital_bias = bias
    config.mapping.max_input_size = limit
    return config


def scaled(config, columnwise=False):
    config.mapping.weight_scaling_omega = 0.3
    config.mapping.weight_scaling_columnwise = columnwise
    return config


def grid():
    config = scaled(config_of(InferenceRPUConfig, limit=3))
    config.mapping.learn_out_scaling = True
    config.pre_post.input_range.enable = True
    return AnalogSequential(AnalogLinear(4, 3, rpu_config=config), torch.nn.Tanh(), torch.nn.Linear(3, 2))


def pulsed(device, cls=SingleRPUConfig, **options):
    config = config_of(cls, device=device, update=ONE_PULSE, **options)
    return AnalogSequential(AnalogLinear(4, 3, rpu_config=config))


def exact(cls, **fields):
    return cls(dw_min=0.01, dw_min_std=0.0, **fields)


MODELS = {
    "soft_bounds": lambda: pulsed(exact(SoftBoundsDevice, up_down=0.2)),
    "linear_analog_bias": lambda: pulsed(exact(LinearStepDevice, gamma_up=0.3, gamma_down=0.2), bias=False),
    "power": lambda: pulsed(exact(PowStepDevice, pow_gamma=1.5)),
    "write_noise": lambda: pulsed(exact(LinearStepDevice, write_noise_std=0.5)),
    "transfer": lambda: pulsed(
        TransferCompound([exact(SoftBoundsDevice), exact(ConstantStepDevice)], transfer_every=100), UnitCellRPUConfig
    ),
    "agad": lambda: pulsed(
        DynamicTransferCompound([exact(SoftBoundsDevice), exact(SoftBoundsDevice)], transfer_every=2), UnitCellRPUConfig
    ),
    "mixed_precision": lambda: pulsed(MixedPrecisionCompound(exact(SoftBoundsDevice)), DigitalRankUpdateRPUConfig),
    "preset": lambda: AnalogSequential(AnalogLinear(4, 3, rpu_config=scaled(TikiTakaEcRamPreset()))),
    "grid": grid,
    "torch_tile": lambda: AnalogSequential(
        AnalogLinear(4, 3, rpu_config=scaled(config_of(TorchInferenceRPUConfig), columnwise=True))
    ),
    "conv": lambda: AnalogSequential(AnalogConv2d(2, 3, 2, rpu_config=config_of(InferenceRPUConfig))),
    "conv_mapped": lambda: AnalogSequential(
        AnalogConv2dMapped(2, 3, 2, rpu_config=config_of(InferenceRPUConfig, limit=5))
    ),
}


def train(model, name):
    x = torch.rand(5, 2, 4, 4) if name.startswith("conv") else torch.rand(5, 4)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        optimizer.step()


def describe(model):
    """Logical weights, and those of the array after one pulse down on every device."""
    found = {}
    for name, tile in model.named_analog_tiles():
        weight, _ = tile.get_weights()
        found[name] = {"weight": weight.tolist()}
        if hasattr(tile.rpu_config, "update") and not isinstance(tile.rpu_config, InferenceRPUConfig):
            tile.set_learning_rate(1.0)
            tile.update(torch.ones(1, 4), torch.ones(1, 3))
            found[name]["after_a_pulse"] = tile.tile.get_weights().tolist()
            hidden = tile.get_hidden_parameters()
            found[name]["hidden_after"] = {key: v.tolist() for key, v in hidden.items() if key.startswith("hidden")}
    return found


def main():
    torch.manual_seed(1)
    expected = {}
    for name, make in MODELS.items():
        model = make()
        train(model, name)
        torch.save(model.state_dict(), HERE / f"{name}.pt")
        digital = {key: v.tolist() for key, v in model.state_dict().items() if key.endswith("bias")}
        expected[name] = {"tiles": describe(model), "digital": digital}
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")


main()
