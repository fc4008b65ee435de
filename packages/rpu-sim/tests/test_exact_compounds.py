"""Steps of buffered compounds equal a model of the oracle's pieces bit for bit: converters, buffers, signs, rates."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits, batch

from rpu_sim import Tile, derive_seed, reference
from rpu_sim import config as c
from rpu_sim.streams import Stream

SEED, LR = 5, 0.05
READ = c.IOParameters(noise_management=c.NoiseManagementType.NONE, bound_management=c.BoundManagementType.NONE)
DEVICE = c.ConstantStepDevice(dw_min=0.01)
f32 = np.float32


class Model:
    """A chopped compound of two arrays, from one transfer to the next."""

    def __init__(self, tile: Tile) -> None:
        self.cell, self.update = tile.rpu_config.device, tile.rpu_config.update
        saved = tile.state_dict()
        self.weights = [saved[f"sub.{k}.weight"].copy() for k in (0, 1)]
        self.parameters = [
            {n.split("cell.")[1]: v for n, v in saved.items() if n.startswith(f"sub.{k}.cell.")} for k in (0, 1)
        ]
        self.keys = [derive_seed(derive_seed(SEED, "sub", k)) for k in (0, 1)]
        self.edge_key, self.train_key = derive_seed(derive_seed(SEED, "transfer", 0)), derive_seed(SEED)
        out_size, in_size = self.weights[0].shape
        self.slices, self.length = (in_size, out_size) if self.cell.transfer_columns else (out_size, in_size)
        self.along, self.across = np.ones(self.slices, f32), np.ones(self.length, f32)
        self.buffer, self.mean, self.past = (np.zeros((self.slices, self.length), f32) for _ in range(3))
        self.switched = np.zeros(self.slices, bool)
        self.calls, self.maxima, self.samples, self.sweep, self.reads = [0, 0], [0.0, 0.0], 0, 0, 0
        self.phase = max(math.ceil(1.0 / self.cell.in_chop_prob), 2)
        self.dynamic = isinstance(self.cell, c.DynamicTransferCompound)

    def pulse(self, k: int, update: Any, x: Any, d: Any, lr: float, **trains: Any) -> None:
        call = {"key": self.keys[k], "step": self.calls[k], **trains}
        self.weights[k] = reference.update.update(
            self.weights[k], self.parameters[k], DEVICE, update, x, d, lr, **call
        ).weights
        self.calls[k] += 1

    def call(self, x: Any, d: Any, step: int) -> None:
        self.maxima = [float(f32(value)) for value in self.maxima]  # as they are kept from call to call
        rates = np.array([self.rate(*sample, len(x)) for sample in zip(x, d, strict=True)], f32)
        period, start = int(self.cell.transfer_every), 0
        while start < len(x):
            part = slice(start, min(len(x), start + period - self.samples % period))
            signs = (self.along, self.across) if self.cell.transfer_columns else (self.across, self.along)
            trains = {"train_key": self.train_key, "train_step": step, "first_sample": start, "rates": rates[part]}
            fast = self.cell.fast_lr * self.update.desired_bl * DEVICE.dw_min
            self.pulse(0, self.update, x[part] * signs[0], d[part] * signs[1], fast, **trains)
            self.samples += part.stop - start
            start = part.stop
            if self.samples % period == 0:
                self.transfer(fast * float(rates[start - 1]))

    def rate(self, x: Any, d: Any, samples: int) -> float:
        decay = (1.0 - self.cell.auto_momentum) / samples
        for i, value in enumerate((float(np.abs(x).max()), float(np.abs(d).max()))):
            if value > 0.0:
                before = self.maxima[i]
                self.maxima[i] = (1.0 - decay) * before + decay * value if before > 0.0 else value
        return 1.0 / (self.maxima[0] * self.maxima[1])

    def transfer(self, fast: float) -> None:
        at = self.reads % self.slices
        one_hot = np.eye(self.slices, dtype=f32)[at : at + 1]
        backward = not self.cell.transfer_columns
        read = reference.mvm.mvm(self.weights[0], one_hot, READ, key=self.edge_key, step=self.reads, backward=backward)[
            0
        ]
        starts, self.switched[at] = self.switched[at], False
        value = read
        if self.dynamic:
            weight = min(self.cell.tail_weightening / self.phase, 1.0)
            value, self.mean[at], self.past[at] = reference.transfer.follow_zero(
                read, self.mean[at], self.past[at], weight, starts_phase=starts
            )
        step = DEVICE.dw_min * self.cell.auto_granularity / (self.slices * int(self.cell.transfer_every))
        gain = LR / (step * (abs(fast) * DEVICE.dw_min / DEVICE.dw_min)) * float(self.along[at])
        rule = {"threshold": 1.0, "most_steps": 5.0, "kept": 0.2, "forgets": False, "cap": 5.0 if self.dynamic else 0.0}
        steps, self.buffer[at] = reference.transfer.take_steps(value, self.buffer[at], self.across, gain, **rule)
        if steps.any() and (not self.dynamic or self.sweep > self.phase):
            self.write(one_hot, steps[None])
        self.switch(at)
        self.reads += 1

    def write(self, one_hot: Any, steps: Any) -> None:
        whole = c.UpdateParameters(
            desired_bl=5,
            pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT,
            update_bl_management=False,
            update_management=False,
        )
        shares = steps * f32(1 / 5)
        x, d = (one_hot, shares) if self.cell.transfer_columns else (shares, one_hot)
        self.pulse(1, whole, x, d, -5 * DEVICE.dw_min, train_key=self.edge_key, train_step=self.reads)

    def switch(self, at: int) -> None:
        def drawn(stream: Stream, n: int) -> Any:
            return reference.philox.uniforms(1, n, self.reads, stream, 0, self.edge_key)[0]

        random = self.cell.in_chop_random
        turn = self.sweep % self.phase == self.phase - 1
        if (drawn(Stream.IN_CHOPPER, 1)[0] < f32(self.cell.in_chop_prob)) if random else turn:
            self.along[at] *= -1
            self.switched[at] = True
        if at == self.slices - 1:
            flips = drawn(Stream.OUT_CHOPPER, self.length) < f32(self.cell.out_chop_prob)
            self.across[flips] *= -1
            self.sweep += 1


def compound(kind: type[c.ChoppedTransferCompound], columns: bool, random: bool) -> Tile:
    cap = {"buffer_cap": 1.0} if kind is c.DynamicTransferCompound else {}
    cell = kind(
        [DEVICE, DEVICE],
        in_chop_prob=0.4,
        in_chop_random=random,
        out_chop_prob=0.3,
        transfer_every=2.0,
        transfer_columns=columns,
        transfer_forward=READ,
        transfer_update=c.UpdateParameters(desired_bl=5),
        fast_lr=0.5,
        auto_scale=True,
        auto_granularity=1.0,
        correct_gradient_magnitudes=True,
        momentum=0.2,
        forget_buffer=False,
        **cap,
    )
    tile = Tile(5, 4, c.UnitCellRPUConfig(device=cell), seed=SEED)
    tile.set_weights(np.zeros((5, 4), f32))
    return tile


@functools.cache
def states_of_model(kind: type[c.ChoppedTransferCompound], columns: bool, random: bool) -> list[dict[str, Any]]:
    """The state after each of 30 calls; the same for every level."""
    model = Model(compound(kind, columns, random))
    states = []
    for call in range(30):
        x, d = batch((5, 4), 3, seed=call)
        model.call(x, f32(0.2) * d, call)
        states.append(
            {
                "sub.0.weight": model.weights[0].copy(),
                "sub.1.weight": model.weights[1].copy(),
                "transfer.0.buffered": model.buffer.copy(),
                "transfer.0.in_chopper": model.along.copy(),
                "transfer.0.out_chopper": model.across.copy(),
                "transfer.0.counters": np.array([model.reads % model.slices, model.sweep, model.reads]),
            }
        )
    assert {-1.0, 1.0} == set(model.along) | set(model.across)
    return states


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("kind", [c.ChoppedTransferCompound, c.DynamicTransferCompound])
@pytest.mark.parametrize("random", [True, False])
def test_steps(isa: str, kind: type[c.ChoppedTransferCompound], columns: bool, random: bool) -> None:
    tile = compound(kind, columns, random)
    for call, expected in enumerate(states_of_model(kind, columns, random)):
        x, d = batch((5, 4), 3, seed=call)
        tile.update(x, 0.2 * d, LR)
        found = tile.state_dict()
        assert (found["transfer.0.counters"] == expected["transfer.0.counters"]).all()
        for name in expected.keys() - {"transfer.0.counters"}:
            assert_same_bits(found[name], expected[name], f"{name} after call {call}")
    assert found["sub.1.pulses"].sum() > 20


def test_warm_up() -> None:
    """AGAD writes nothing in the first phase and the sweep that follows it."""
    cell = c.DynamicTransferCompound([DEVICE, DEVICE], in_chop_prob=0.1, transfer_every=2.0, transfer_lr=1000.0)
    tile = Tile(3, 4, c.UnitCellRPUConfig(device=cell), seed=SEED)
    x, d = np.full((1, 4), 0.5, f32), np.full((1, 3), 0.3, f32)
    before, sample = tile.get_weights(), 0
    while (tile.weights == before).all():
        tile.update(x, d, 0.1)
        sample += 1
    assert sample == (10 + 1) * 4 * 2 + 2
