"""The dataclasses are the only definition: everything generated follows them."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from rpu_sim import config as c
from rpu_sim.config.base import field_types
from rpu_sim.config.cells import cell_fields
from rpu_sim.config.plain import from_dict, to_dict
from rpu_sim.errors import ConfigError

CORE = Path(__file__).parents[1] / "core"


def test_schema_lists_every_field() -> None:
    schema = json.loads((resources.files("rpu_sim") / "config.schema.json").read_text())
    for name in ("IOParameters", "UpdateParameters", "SoftBoundsDevice", "SingleRPUConfig"):
        cls = getattr(c, name)
        assert set(schema["$defs"][name]["properties"]) - {"class"} == set(field_types(cls))
    assert schema["$defs"]["IOParameters"]["properties"]["out_noise"]["default"] == 0.06


@pytest.mark.skipif(not CORE.exists(), reason="needs the source tree")
def test_device_list_matches_the_dataclasses_and_the_fields_of_the_core() -> None:
    names = re.findall(r'^RPU_DEVICE\((\w+), "([^"]+)"\)', (CORE / "devices.def").read_text(), re.MULTILINE)
    listed = {f"{name}Device" for name, _ in names}
    pulsed = [cls for cls in vars(c).values() if isinstance(cls, type) and issubclass(cls, c.PulsedDevice)]
    shared = (c.PulsedDevice, c.WriteNoiseDevice, c.AffineStepDevice, c.PowerLawStepDevice)
    described = (c.SoftBoundsPmaxDevice, c.SoftBoundsCurveDevice)  # the core sees them as SoftBoundsDevice
    concrete = {cls.__name__ for cls in pulsed if cls not in (*shared, *described)}
    assert listed == concrete
    assert all((CORE / header).exists() for _, header in names)
    base = re.search(r"kBaseFieldNames\[.*?\{(.*?)\}", (CORE / "fields.hpp").read_text(), re.DOTALL)
    assert base is not None
    assert tuple(re.findall(r'"(\w+)"', base[1])) == tuple(cell_fields(c.ConstantStepDevice()))


def test_the_types_of_the_compiled_module_are_the_reviewed_ones() -> None:
    """Type checkers read the stub that the build writes; copy it to tests/data once its changes are as intended."""
    written = resources.files("rpu_sim") / "_core.pyi"
    if not written.is_file():
        pytest.skip("a build with sanitizers writes no stub")
    assert written.read_text() == (Path(__file__).parent / "data" / "_core.pyi").read_text()


def test_plain_form_round_trips() -> None:
    config = c.SingleRPUConfig(device=c.LinearStepDevice(gamma_up=0.3, drift=c.DriftParameter(t_0=2.0)))
    config.forward.noise_management = c.NoiseManagementType.CONSTANT
    plain = json.loads(json.dumps(to_dict(config)))
    drift = {"class": "DriftParameter", "t_0": 2.0}
    assert plain["device"] == {"class": "LinearStepDevice", "drift": drift, "gamma_up": 0.3}
    assert from_dict(plain) == config
    assert str(c.IOParameters(out_noise=0.1)) == "IOParameters(out_noise=0.1)"


@pytest.mark.parametrize(
    "bad",
    [
        {"class": "Nonsense"},
        {},
        {"class": "IOParameters", "out_nois": 1.0},
        {"class": "IOParameters", "noise_management": "ABSMAX"},
    ],
)
def test_bad_plain_forms(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        from_dict(bad)
