"""What is measured: an operation of one tile at one shape and batch size, such as `update-soft-512x512-b64`.

The same cases run on our tiles (`tiles.py`) and on the peer's (`peer_tiles.py`), with the same operands and equal
configurations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 0.01  # with x ~ 0.3 N and d ~ 0.1 N: about 0.19 pulses per cell and sample
DEVICES: dict[str, tuple[str, dict[str, Any]]] = {
    "constant": ("ConstantStepDevice", {}),
    "linear": ("LinearStepDevice", {"gamma_up": 0.5, "gamma_down": 0.5}),
    "linear_additive": ("LinearStepDevice", {"gamma_up": 0.5, "gamma_down": 0.5, "mult_noise": False}),
    "soft": ("SoftBoundsDevice", {}),
    "soft_additive": ("SoftBoundsDevice", {"mult_noise": False}),
    "soft_reference": ("SoftBoundsReferenceDevice", {"subtract_symmetry_point": True, "reference_std": 0.05}),
    "soft_write_noise": ("SoftBoundsDevice", {"write_noise_std": 5.0}),
    "exp": ("ExpStepDevice", {}),
    "pow": ("PowStepDevice", {"pow_gamma": 1.5}),
    "pow_reference": ("PowStepReferenceDevice", {"pow_gamma": 1.5, "reference_std": 0.05}),
    "piecewise": ("PiecewiseStepDevice", {"piecewise_up": [1.5, 1.0, 0.2], "piecewise_down": [0.2, 1.0, 1.5]}),
}
# Cells of two constant-step devices, one transfer in each step. The fast array takes the learning rate of the others,
# and transfers are so strong that nearly every one of them writes.
_TRANSFER: dict[str, Any] = {"transfer_every": 1.0, "units_in_mbatch": True}
_BUFFERED = {**_TRANSFER, "transfer_lr": 100.0}
_CHOPPED = {**_BUFFERED, "fast_lr": LEARNING_RATE}
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiki_taka": ("TransferCompound", _TRANSFER),
    "ttv2": ("BufferedTransferCompound", _BUFFERED),
    "chopped": ("ChoppedTransferCompound", _CHOPPED),
    "agad": ("DynamicTransferCompound", {**_CHOPPED, "in_chop_prob": 1.0}),
    "vector": ("VectorUnitCell", {}),
    "one_sided": ("OneSidedUnitCell", {}),
    "mixed_precision": ("MixedPrecisionCompound", {}),
}
# Ours draw the cycle noise of a whole update at once, approximations that the peer does not have: the device, and the
# member of CycleNoiseType.
APPROXIMATE = {
    "soft_per_update": ("soft", "PER_UPDATE"),
    "exp_per_update": ("exp", "PER_UPDATE"),
    "soft_closed_form": ("soft", "CLOSED_FORM"),
    "soft_additive_closed_form": ("soft_additive", "CLOSED_FORM"),
    "exp_closed_form": ("exp", "CLOSED_FORM"),
    "pow_closed_form": ("pow", "CLOSED_FORM"),
    "piecewise_closed_form": ("piecewise", "CLOSED_FORM"),
}
DEVICES |= {name: DEVICES[device] for name, (device, _) in APPROXIMATE.items()}
OPERATIONS = ("update", "forward", "backward")
SIZES = (128, 256, 512, 1024, 2048)
BATCHES = (1, 8, 32, 64, 256)

_NAME = re.compile(
    r"(?P<operation>[a-z]+)-(?P<device>[a-z0-9_]+)-(?P<out>\d+)x(?P<inp>\d+)-b(?P<batch>\d+)(-near(?P<near>\d+))?"
)


@dataclass(frozen=True)
class Case:
    """One measurement: `operation` on an `out_size` x `in_size` tile of `device` with `batch` samples.

    `near` is the percentage of cells that start at their upper bound; None keeps the device's default bounds, while a
    number (0 included) gives every cell the same bounds, so that the rest of the cells are certainly far from theirs.
    """

    operation: str
    device: str
    out_size: int
    in_size: int
    batch: int
    near: int | None = None

    def __str__(self) -> str:
        name = f"{self.operation}-{self.device}-{self.out_size}x{self.in_size}-b{self.batch}"
        return name if self.near is None else f"{name}-near{self.near}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """The case called `name`; raises ValueError for a name that is none."""
        match = _NAME.fullmatch(name)
        if not match or match["operation"] not in OPERATIONS or match["device"] not in DEVICES | CELLS:
            raise ValueError(
                f"'{name}' is not a case; write it as in update-constant-512x512-b64, "
                f"or lenet-constant-b64, with an operation of {OPERATIONS} and a device of {tuple(DEVICES | CELLS)}."
            )
        near = None if match["near"] is None else int(match["near"])
        return cls(match["operation"], match["device"], int(match["out"]), int(match["inp"]), int(match["batch"]), near)


@dataclass(frozen=True)
class NetworkCase:
    """A training step of a LeNet whose layers have devices of one kind, with a batch: `lenet-soft-b8`."""

    device: str
    batch: int
    near: None = None

    operation = "lenet"

    def __str__(self) -> str:
        return f"lenet-{self.device}-b{self.batch}"


def parse(name: str) -> Case | NetworkCase:
    """The case called `name`; raises ValueError for a name that is none."""
    match = re.fullmatch(r"lenet-([a-z0-9_]+)-b(\d+)", name)
    if match and match[1] in DEVICES | CELLS:
        return NetworkCase(match[1], int(match[2]))
    return Case.parse(name)


@dataclass(frozen=True)
class Operands:
    """`x` [batch, in], `d` [batch, out], `weights` [out, in], and `at_bound` [out, in], the cells to start there."""

    x: NDArray[np.float32]
    d: NDArray[np.float32]
    weights: NDArray[np.float32]
    at_bound: NDArray[np.bool_]


def operands(case: Case) -> Operands:
    """The same arrays for every side that runs `case`."""
    rng = np.random.default_rng(case.out_size * case.batch + case.in_size)
    shape = (case.out_size, case.in_size)
    return Operands(
        x=0.3 * rng.standard_normal((case.batch, case.in_size), np.float32),
        d=0.1 * rng.standard_normal((case.batch, case.out_size), np.float32),
        weights=rng.uniform(-0.1, 0.1, shape).astype(np.float32),
        at_bound=rng.random(shape) < (case.near or 0) / 100,
    )


def build_config(configs: Any, case: Case | NetworkCase) -> Any:
    """The configuration of a case; `configs` is the module of the configuration classes (ours or the peer's)."""
    if case.device in CELLS:
        return _cell_config(configs, case.device)
    class_name, fields = DEVICES[case.device]
    equal_bounds = {} if case.near is None else {"w_max_dtod": 0.0, "w_min_dtod": 0.0}
    config = configs.SingleRPUConfig(device=getattr(configs, class_name)(**fields, **equal_bounds))
    if case.device in APPROXIMATE and hasattr(configs, "CycleNoiseType"):
        config.update.noise = configs.CycleNoiseType[APPROXIMATE[case.device][1]]
    return config


def _cell_config(configs: Any, name: str) -> Any:
    class_name, fields = CELLS[name]
    kind = getattr(configs, class_name)
    # Devices that are only ever pulsed up need room for the pulses of a block.
    device = configs.ConstantStepDevice(w_max=10.0) if name == "one_sided" else configs.ConstantStepDevice()
    if name == "mixed_precision":
        return configs.DigitalRankUpdateRPUConfig(device=kind(device=device, **fields))
    return configs.UnitCellRPUConfig(device=kind(unit_cell_devices=[device, device], **fields))


def _square(operation: str, device: str, size: int, batch: int) -> Case:
    return Case(operation, device, size, size, batch)


def update_cases(*, full: bool) -> list[Case]:
    """Pulsed updates: every device, size and batch size, or the few that tell most."""
    if full:
        return [_square("update", *rest) for rest in product(DEVICES, SIZES, BATCHES)]
    constant = [(256, 32), (512, 1), (512, 8), (512, 64), (1024, 64)]
    others = [name for name in DEVICES if name != "constant"]
    return [_square("update", "constant", *rest) for rest in constant] + [
        _square("update", device, 512, 64) for device in others
    ]


def mvm_cases(*, full: bool) -> list[Case]:
    """Forward and backward passes with the default (noisy, quantised, managed) input and output."""
    shapes = product(SIZES, BATCHES) if full else [(256, 32), (512, 1), (512, 8), (512, 64), (1024, 64)]
    return [_square(operation, "constant", *shape) for shape in shapes for operation in ("forward", "backward")]


def network_cases(*, full: bool) -> list[NetworkCase]:
    """Training steps of a LeNet."""
    devices = ("constant", "soft", "tiki_taka") if full else ("constant", "soft")
    return [NetworkCase(device, batch) for batch in (8, 64) for device in devices]


def cell_cases(*, full: bool) -> list[Case]:
    """Steps of cells of several devices, small ones too: there the host logic shows."""
    shapes = product((16, 64, 256, 512), (1, 8, 64)) if full else [(16, 1), (16, 8), (64, 8), (256, 8), (512, 64)]
    return [_square("update", cell, *shape) for shape in shapes for cell in CELLS]
