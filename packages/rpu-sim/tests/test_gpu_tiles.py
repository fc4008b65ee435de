"""Tiles whose state is on a GPU compute, learn and age with the bits of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import DEVICES, UPDATES, assert_same_bits
from gpu_tiles import IN, OUT, STORED, assert_same_state, config_of, needs_kernels, pair, samples
from test_exact_mvm import IO
from unit_cells import WRITTEN, cells

from rpu_sim import Tile, WeightClip, clip_weights, gpu, modify_weights, remap_weights
from rpu_sim import config as c

pytestmark = needs_kernels


def assert_same_life(device: str, config: Any) -> None:
    """Everything that training does gives the same state and the same outputs."""
    tiles = pair(device, config)
    put = gpu.space(device).put
    assert tiles[1].device == device
    assert_same_state(tiles, "construction")
    for step in range(4):
        x, d = samples(seed=step)
        for name, values in (("forward", x), ("backward", d)):
            y = [getattr(tiles[0], name)(values), getattr(tiles[1], name)(put(values))]
            assert_same_bits(y[1].numpy(), y[0], name)
        tiles[0].update(x, d, 0.05)
        tiles[1].update(put(x), put(d), 0.05)
        assert_same_state(tiles, f"update {step}")
        assert tiles[0].pulse_counts == tiles[1].pulse_counts
        for tile in tiles:
            tile.post_update_step()
        assert_same_state(tiles, "the time step")
    for tile in tiles:
        tile.decay(0.5)
        tile.diffuse()
        tile.drift(3.0)
        if not isinstance(config, c.FloatingPointRPUConfig):
            tile.reset(3, 7, 0.8)
    assert_same_state(tiles, "decay, diffusion, drift and reset")
    weights = np.linspace(-0.4, 0.4, OUT * IN, dtype=np.float32).reshape(OUT, IN)
    tiles[0].set_weights(weights)
    tiles[1].set_weights(put(weights))
    assert_same_state(tiles, "set_weights")
    parameters = tiles[0].hidden_parameters()
    for name, values in tiles[1].hidden_parameters().items():
        assert_same_bits(values.numpy(), parameters[name], name)
    for tile in tiles:
        tile.set_hidden_parameters(parameters)
    assert_same_state(tiles, "set_hidden_parameters")
    tiles[1].synchronize()


@pytest.mark.parametrize("name", DEVICES)
def test_devices(device: str, name: str) -> None:
    assert_same_life(device, config_of(DEVICES[name]))


@pytest.mark.parametrize("name", UPDATES)
def test_updates(device: str, name: str) -> None:
    assert_same_life(device, config_of(DEVICES["soft"], update=UPDATES[name]))


@pytest.mark.parametrize("kind", ["MEAN_FIELD", "NONE_WITH_DEVICE", "NONE"])
def test_updates_without_pulses(device: str, kind: str) -> None:
    assert_same_life(device, config_of(WRITTEN, update=c.UpdateParameters(pulse_type=c.PulseType[kind])))


@pytest.mark.parametrize("name", STORED)
def test_stored_weights(device: str, name: str) -> None:
    assert_same_life(device, config_of(STORED[name]))


def test_floating_point(device: str) -> None:
    assert_same_life(device, c.FloatingPointRPUConfig())


@pytest.mark.parametrize("name", cells())
def test_cells(device: str, name: str) -> None:
    assert_same_life(device, config_of(cells()[name]))


@pytest.mark.parametrize("name", IO)
def test_periphery(device: str, name: str) -> None:
    assert_same_life(device, c.SingleRPUConfig(forward=IO[name], backward=IO[name]))


def test_more_rows_and_samples_than_threads_of_a_block(device: str) -> None:
    """One block goes over them all, in the order of the CPU where it matters."""
    rows, batch = 700, 600
    config = config_of(DEVICES["soft"], forward=IO["average"], backward=IO["nonlinearity-unbounded"])
    tiles = Tile(rows, 6, config, seed=3), Tile(rows, 6, config, seed=3, device=device)
    rng, put = np.random.default_rng(0), gpu.space(device).put
    x, d = (rng.standard_normal((batch, n)).astype(np.float32) for n in (6, rows))
    for direction, values in (("forward", x), ("backward", d)):
        y = [getattr(tile, direction)(v) for tile, v in zip(tiles, (values, put(values)), strict=True)]
        assert_same_bits(y[1].numpy(), y[0], direction)
    tiles[0].update(x, d, 0.05)
    tiles[1].update(put(x), put(d), 0.05)
    assert_same_state(tiles, "update")
    weights = rng.standard_normal((rows, 6)).astype(np.float32)
    for kind in ("LAYER_GAUSSIAN", "AVERAGE_CHANNEL_MAX"):
        clip = c.WeightClipParameter(type=c.WeightClipType[kind], sigma=1.5)
        assert_same_bits(clip_weights(put(weights), clip).numpy(), clip_weights(weights, clip), kind)
    for kind in ("LAYERWISE_SYMMETRIC", "CHANNELWISE_SYMMETRIC"):
        remap = c.WeightRemapParameter(type=c.WeightRemapType[kind], max_scale_range=1.5)
        scales = (0.5 + rng.random(rows)).astype(np.float32)
        on_gpu = put(scales)
        found = remap_weights(put(weights), on_gpu, remap)
        expected = remap_weights(weights, scales, remap)
        for a, b in zip(found, expected, strict=True):
            assert_same_bits(a.numpy(), b, kind)
    modifier = c.WeightModifierParameter(type=c.WeightModifierType.DISCRETIZE, res=0.1, rel_to_actual_wmax=True)
    copies = [modify_weights(w, modifier, seed=4) for w in (weights, put(weights))]
    assert_same_bits(copies[1].numpy(), copies[0], "modifier")


def test_programming(device: str) -> None:
    tiles = pair(device, config_of(DEVICES["constant"]))
    results = [tile.program_weights(np.full((OUT, IN), 0.05, np.float32), max_iter=20) for tile in tiles]
    assert results[0] == results[1]
    estimates = [tile.read_weights() for tile in tiles]
    assert_same_bits(estimates[1].numpy(), estimates[0], "estimate")
    assert_same_state(tiles, "programming")


@pytest.mark.parametrize("kind", ["NONE", "FIXED_VALUE", "LAYER_GAUSSIAN", "AVERAGE_CHANNEL_MAX"])
def test_whether_weights_are_clipped(device: str, kind: str) -> None:
    put = gpu.space(device).put
    clip = WeightClip(c.WeightClipParameter(type=c.WeightClipType[kind], fixed_value=2.5, sigma=2.5))
    weights = np.random.default_rng(0).standard_normal((OUT, IN)).astype(np.float32)
    answers = []
    for factor in (1.0, 3.0):
        answers.append(clip.leaves(weights * np.float32(factor)))
        assert clip.leaves(put(weights * np.float32(factor))) is answers[-1]
    assert kind == "NONE" or not all(answers)


@pytest.mark.parametrize("child", [DEVICES["soft"], WRITTEN, c.VectorUnitCell(unit_cell_devices=[DEVICES["soft"]] * 2)])
def test_whole_steps_stay_on_the_gpu(device: str, child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed precision copies no array to the host; whether there are steps is one number."""
    config = config_of(c.MixedPrecisionCompound(device=child, transfer_every=2))
    tiles = pair(device, config)
    put = gpu.space(device).put
    given = [samples(seed=step) for step in range(4)]
    moved = [(put(x), put(d)) for x, d in given]
    with monkeypatch.context() as patch:
        patch.delattr(gpu.GpuArray, "numpy")
        for x, d in moved:
            tiles[1].update(x, d, 0.05)
    for x, d in given:
        tiles[0].update(x, d, 0.05)
    assert sum(tiles[0].pulse_counts) > 0
    assert_same_state(tiles, "updates")
