"""Configurations of unit cells: algorithms by name, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from exact import assert_same_bits
from unit_cells import SOFT, plain, tile_of, train

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError


@pytest.mark.parametrize("name", [*c.ALGORITHMS, "AGAD"])
def test_algorithms_by_name(name: str) -> None:
    config = c.build_config(
        name, c.SoftBoundsDevice, construction_seed=3, mapping=c.MappingParameter(digital_bias=False)
    )
    assert config.mapping.digital_bias is False
    tile = train(Tile(4, 6, config), 0, 2)
    again = Tile(4, 6, config, seed=8)
    found = {n: v for n, v in tile.hidden_parameters().items() if n.startswith("dwmin_up")}
    for each, values in found.items():
        assert_same_bits(again.hidden_parameters()[each], values, "the construction seed draws the devices")


def test_fields_of_algorithms() -> None:
    ttv2 = c.build_config("ttv2", c.SoftBoundsDevice(w_max=2.0), c.IOParameters(out_noise=0.0))
    assert isinstance(ttv2.device, c.ChoppedTransferCompound)
    assert (ttv2.device.in_chop_prob, ttv2.device.auto_scale, ttv2.update.desired_bl) == (0.0, False, 5)
    assert ttv2.device.transfer_forward.noise_management is c.NoiseManagementType.NONE
    assert ttv2.forward.noise_management is c.NoiseManagementType.ABS_MAX
    assert ttv2.device.transfer_forward.out_noise == 0.0
    assert [d.w_max for d in ttv2.device.unit_cell_devices] == [2.0, 2.0]
    agad = c.build_config("agad", c.SoftBoundsDevice)
    assert isinstance(agad.device, c.DynamicTransferCompound)
    assert (agad.device.transfer_update.update_management, agad.device.fast_lr) == (True, 0.1)
    several = c.build_config("sgd", c.SoftBoundsDevice, n_devices=3)
    assert len(several.device.unit_cell_devices) == 3
    assert several.device.update_policy is c.VectorUnitCellUpdatePolicy.SINGLE_RANDOM
    with pytest.raises(ConfigError, match="no algorithm 'adam'; use one of sgd"):
        c.build_config("adam", c.SoftBoundsDevice)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (c.VectorUnitCell(), "at least 1 devices"),
        (c.VectorUnitCell([c.IdealDevice()]), "pulsed devices or unit cells"),
        (c.VectorUnitCell([plain()], gamma_vec=[1.0, 2.0]), "gamma_vec"),
        (c.VectorUnitCell([plain()], first_update_idx=1), "first_update_idx"),
        (c.OneSidedUnitCell([plain(), SOFT]), "one type"),
        (c.OneSidedUnitCell([plain()] * 3), "1 or 2 devices"),
        (c.TransferCompound([plain()]), "at least 2"),
        (c.TransferCompound([plain()] * 2, transfer_every=0.2, units_in_mbatch=False), "whole number"),
        (c.TransferCompound([plain()] * 2, gamma_vec=[1.0, 0.0]), "last value of gamma_vec"),
        (c.TransferCompound([plain()] * 2, with_reset_prob=0.1, transfer_columns=False), "cannot be reset"),
        (c.ChoppedTransferCompound([plain()] * 3), "exactly 2"),
        (c.ChoppedTransferCompound([plain()] * 2, n_reads_per_transfer=2), "n_reads_per_transfer"),
        (c.DynamicTransferCompound([plain()] * 2, in_chop_prob=0.0), "in_chop_prob"),
        (c.MixedPrecisionCompound(), "at least 1 devices"),
        (c.MixedPrecisionCompound(plain(), n_x_bins=1), "n_x_bins"),
        (c.UnitCell([plain()]), "must be set to a cell"),
    ],
)
def test_impossible_cells_are_refused(cell: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        tile_of(cell)
    assert "\n" not in str(error.value)


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="unit_cell_devices must be a list"):
        tile_of(c.VectorUnitCell(unit_cell_devices=plain()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="gamma_vec"):
        tile_of(c.VectorUnitCell([plain()], gamma_vec=["1"]))  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="another pulse_type"):
        tile_of(c.VectorUnitCell([plain()]), pulse_type=c.PulseType.NONE_WITH_DEVICE)
