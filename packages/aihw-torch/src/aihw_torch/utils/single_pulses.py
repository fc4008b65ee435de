"""Configurations in which every update is one pulse, for measurements of devices."""

from __future__ import annotations

from aihw_torch.config import PulsedDevice, UpdateParameters


def one_pulse_update() -> UpdateParameters:
    """Return the parameters with which an update of x = 1, d = -1 or 1 and lr = 1 is one pulse up or down."""
    return UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


def silence(device: PulsedDevice) -> None:
    """Take all spreads off a device."""
    for name in vars(device):
        if name.endswith(("_dtod", "_std")):
            setattr(device, name, 0.0)
