"""Hypothesis strategies for configurations: any device, cell or compound, with a few fields away from their defaults.

A value is drawn by the name and type of its field, so fields and classes that are added later take part by themselves.
Drawn configurations may be impossible: what `check` refuses is for the test to sort out.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from hypothesis import strategies as st

from rpu_sim import config as c
from rpu_sim.config.base import ConfigBase, field_types

FLOATS: dict[str, list[float]] = {
    "dw_min": [1e-5, 1e-3, 0.05, 2.0],
    "w_max": [0.0, 1e-3, 0.6, 20.0],
    "w_min": [0.0, -1e-3, -0.6, -20.0],
    "lifetime": [0.0, 1.5, 30.0],
    "um_grad_scale": [0.2, 1.0, 5.0],
    "inp_bound": [1.0, 0.5, 0.0],
    "ir_drop_g_ratio": [571428.57],
    "construction_seed": [0, 5],
    "t_0": [1.0, 20.0],
    "transfer_every": [0.0, 1.0, 2.0, 7.0],
}
SPREADS = [0.0, 0.1, 1.0, 5.0]
SHARES = [0.0, 0.3, 1.0]
NUMBERS = [0.0, 0.02, 0.5, 1.0, 3.0, -0.5]
INTEGERS = {"desired_bl": [1, 2, 8, 31, 32, 33, 100], "max_bm_factor": [1, 5, 1000], "p_max": [10, 1000]}

DEVICES = [
    kind
    for kind in (getattr(c, name) for name in c.__all__)
    if isinstance(kind, type) and issubclass(kind, c.PulsedDevice) and hasattr(kind, "dw_min")
]
CONCRETE = [kind for kind in DEVICES if kind not in (c.PulsedDevice, c.AffineStepDevice, c.PowerLawStepDevice)]


def values(owner: type[ConfigBase], name: str, kind: Any) -> st.SearchStrategy[Any] | None:
    """What a field may hold; None keeps its default."""
    if kind is bool:
        return st.booleans()
    if kind is float:
        if name in FLOATS:
            return st.sampled_from(FLOATS[name])
        if name.endswith(("_dtod", "_std")):
            return st.sampled_from(SPREADS)
        return st.sampled_from(SHARES if name.endswith(("prob", "momentum")) else NUMBERS)
    if kind is int:
        return st.sampled_from(INTEGERS.get(name, [0, 1, 2]))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and issubclass(kind, c.SimpleDriftParameter):
        return changed(kind)
    return None


@st.composite
def changed(draw: st.DrawFn, kind: type[Any], most: int = 5, **given: Any) -> Any:
    """An object of a configuration class with up to ``most`` fields drawn, and some given."""
    names = {f.name: field_types(kind)[f.name] for f in dataclasses.fields(kind) if f.name not in given}
    open_fields = {n: s for n, k in names.items() if (s := values(kind, n, k)) is not None}
    chosen = draw(st.lists(st.sampled_from(sorted(open_fields)), unique=True, max_size=most)) if open_fields else []
    return kind(**{name: draw(open_fields[name]) for name in chosen}, **given)


@st.composite
def devices(draw: st.DrawFn) -> c.PulsedDevice:
    kind = draw(st.sampled_from(CONCRETE))
    if kind is c.PiecewiseStepDevice:
        n = draw(st.integers(1, 4))
        nodes = st.lists(st.sampled_from([0.1, 0.5, 1.0, 2.0]), min_size=n, max_size=n)
        return draw(changed(kind, piecewise_up=draw(nodes), piecewise_down=draw(nodes)))
    return draw(changed(kind))


updates = changed(c.UpdateParameters)
converters = changed(c.IOParameters, most=4)


@st.composite
def single(draw: st.DrawFn) -> c.SingleRPUConfig:
    device = draw(st.one_of(devices(), changed(c.IdealDevice)))
    return c.SingleRPUConfig(device=device, forward=draw(converters), backward=draw(converters), update=draw(updates))


@st.composite
def cells(draw: st.DrawFn, depth: int = 1) -> c.UnitCell:
    kind: Any = draw(
        st.sampled_from(
            [
                c.VectorUnitCell,
                c.ReferenceUnitCell,
                c.OneSidedUnitCell,
                c.TransferCompound,
                c.BufferedTransferCompound,
                c.ChoppedTransferCompound,
                c.DynamicTransferCompound,
            ]
        )
    )
    part = st.one_of(devices(), cells(depth=depth - 1)) if depth else devices()
    parts = [draw(part) for _ in range(draw(st.integers(1, 3)) if kind is c.VectorUnitCell else 2)]
    if kind is c.OneSidedUnitCell:
        parts = [draw(devices())]
        return draw(changed(kind, unit_cell_devices=parts, refresh_update=draw(updates)))
    if issubclass(kind, c.TransferCompound):
        pair = {"transfer_forward": draw(converters), "transfer_update": draw(updates)}
        return draw(changed(kind, unit_cell_devices=parts, **pair))
    return draw(changed(kind, unit_cell_devices=parts))


@st.composite
def compound(draw: st.DrawFn) -> c.UnitCellRPUConfig | c.DigitalRankUpdateRPUConfig:
    sides = {"forward": draw(converters), "backward": draw(converters), "update": draw(updates)}
    if draw(st.integers(0, 4)) == 0:
        wrapped = draw(st.one_of(devices(), cells(depth=0)))
        return c.DigitalRankUpdateRPUConfig(device=draw(changed(c.MixedPrecisionCompound, device=wrapped)), **sides)
    return c.UnitCellRPUConfig(device=draw(cells()), **sides)
