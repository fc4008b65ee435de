"""Devices from measured pulses: fits of the step models, user presets, and whole traces.

`fit_device` takes single steps, of a CSV file in the format of `rpu_sim.table`, and compares each with what the device
itself does from the same state; `fit_measurements` simulates whole traces and compares those. Both need SciPy, the
extra `fitting`.
"""

from __future__ import annotations

from aihw_torch.utils.preset_file import save_preset
from aihw_torch.utils.step_fit import DeviceFit, fit_device, one_pulse
from aihw_torch.utils.trace_fit import fit_measurements, model_response

__all__ = ["DeviceFit", "fit_device", "fit_measurements", "model_response", "one_pulse", "save_preset"]
