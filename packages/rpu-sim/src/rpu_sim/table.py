"""Step tables: the distribution of the step of a measured device, given its conductance.

A measurement is a CSV file with a header and one row for each reading, the readings of a device in the order of time:

* ``device``: name of the device; may be left out if there is one,
* ``direction``: ``up`` or ``down``, the pulse since the reading before; empty where a sequence starts,
* ``conductance``: the reading, in any unit.

Steps are differences of readings, so the noise of a reading counts as noise of the step.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import TableStepDevice
from .errors import ConfigError, StateError

FORMAT = "rpu_sim.step_table"
VERSION = 1
MIN_STEPS = 20

Float64 = NDArray[np.float64]


class Steps(NamedTuple):
    """Measured pulses: device number, direction, conductance before, and change."""

    device: NDArray[np.int64]
    up: NDArray[np.bool_]
    before: Float64
    change: Float64


@dataclass(frozen=True, eq=False)
class StepTable:
    """Quantiles of the step of a device, given its conductance.

    Attributes:
        edges: Conductances between the bins, float64 [bins + 1], equidistant and increasing.
        up: Quantiles of the change by an up pulse at equidistant probabilities from 0 to 1, float64 [bins, levels], in
            units of conductance.
        down: The same for a down pulse.
        n_up: Measured up pulses in each bin, int64 [bins].
        n_down: The same for down pulses.
        gain_std: Spread of a factor on all steps of a device, relative to its mean; the noise of its estimate is taken
            off.

    Raises:
        ConfigError: when the arrays do not fit together.
    """

    edges: Float64
    up: Float64
    down: Float64
    n_up: NDArray[np.int64]
    n_down: NDArray[np.int64]
    gain_std: float = 0.0

    def __post_init__(self) -> None:
        bins = len(self.edges) - 1
        widths = np.diff(self.edges)
        if bins < 1 or not np.allclose(widths, widths[:1], rtol=1e-6, atol=0.0) or not (widths > 0).all():
            raise ConfigError("the edges of a step table must increase in equal distances")
        if self.up.shape != self.down.shape or self.up.ndim != 2 or len(self.up) != bins or self.up.shape[1] < 2:
            raise ConfigError(f"the quantiles of a step table of {bins} bins must have shape ({bins}, levels)")
        for quantiles in (self.up, self.down):
            if not np.isfinite(quantiles).all() or (np.diff(quantiles, axis=1) < 0).any():
                raise ConfigError("the quantiles of a step table must be finite and must not decrease")
        if self.n_up.shape != (bins,) or self.n_down.shape != (bins,):
            raise ConfigError(f"the numbers of pulses of a step table of {bins} bins must have shape ({bins},)")
        if not 0.0 <= self.gain_std < math.inf:
            raise ConfigError("gain_std of a step table must be finite and not negative")

    @property
    def centres(self) -> Float64:
        """Conductances at the centres of the bins."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def moments(self, direction: str) -> tuple[Float64, Float64]:
        """Mean and standard deviation of the change in each bin, for ``"up"`` or ``"down"``."""
        q = {"up": self.up, "down": self.down}[direction]
        low, high = q[:, :-1], q[:, 1:]  # the law is uniform between neighbouring quantiles
        mean = np.mean(0.5 * (low + high), axis=1)
        second = np.mean((low * low + low * high + high * high) / 3, axis=1)
        return mean, np.sqrt(np.maximum(second - mean * mean, 0.0))

    def report(self) -> str:
        """The fit as text: numbers of pulses, mean and spread of the step in each bin."""
        (up, up_std), (down, down_std) = self.moments("up"), self.moments("down")
        lines = ["conductance     n up      mean       std   n down      mean       std"]
        rows = zip(self.centres, self.n_up, up, up_std, self.n_down, down, down_std, strict=True)
        lines += [f"{g:11.4g} {n:8d} {m:9.3g} {s:9.3g} {k:8d} {d:9.3g} {t:9.3g}" for g, n, m, s, k, d, t in rows]
        return "\n".join([*lines, f"spread of the gain between devices: {self.gain_std:.3g}"])

    def save(self, path: str | Path) -> None:
        """Write the table as an ``npz`` file."""
        meta = np.frombuffer(json.dumps({"format": FORMAT, "version": VERSION}).encode(), np.uint8)
        gain: Float64 = np.array(self.gain_std)
        arrays = {name: getattr(self, name) for name in ("edges", "up", "down", "n_up", "n_down")}
        with Path(path).open("wb") as file:
            np.savez(file, meta=meta, gain_std=gain, **arrays)

    def device(self, w_min: float = -1.0, w_max: float = 1.0, **fields: Any) -> TableStepDevice:
        """The device with these steps; the first edge becomes ``w_min`` and the last ``w_max``.

        Args:
            w_min: Weight at the lowest conductance, not above 0.
            w_max: Weight at the highest conductance, not below 0.
            fields: Other fields of the device. ``dw_min_dtod`` is ``gain_std`` unless given.
        """
        weight_per_conductance = (w_max - w_min) / float(self.edges[-1] - self.edges[0])
        middle = [(len(self.up) - 1) // 2, len(self.up) // 2]
        step = float(np.mean([self.moments("up")[0][middle], -self.moments("down")[0][middle]]))
        if not step > 0.0:
            raise ConfigError(
                "halfway between the edges, up pulses do not raise the conductance more than down pulses do"
            )
        tables = {f"step_{name}": (getattr(self, name) / step).tolist() for name in ("up", "down")}
        gains = {"dw_min": step * weight_per_conductance, "dw_min_dtod": self.gain_std}
        return TableStepDevice(**{"w_min": w_min, "w_max": w_max, **gains, **tables, **fields})


def load(path: str | Path) -> StepTable:
    """Read a table that `StepTable.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        StateError: if the file is no step table, is damaged, or is of a later version.
    """
    try:
        with Path(path).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(arrays["meta"].tobytes().decode())
        if meta["format"] != FORMAT:
            raise ValueError(meta["format"])
        version = meta["version"]
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        raise StateError(f"{path} is no step table, or it is damaged; save it with StepTable.save()") from None
    if version != VERSION:
        raise StateError(f"{path} has version {version} but this rpu_sim reads version {VERSION}; update rpu_sim")
    kinds = {"edges": np.float64, "up": np.float64, "down": np.float64, "n_up": np.int64, "n_down": np.int64}
    for name, kind in {**kinds, "gain_std": np.float64}.items():
        if name not in arrays or arrays[name].dtype != kind:
            raise StateError(f"{path} lacks the {kind.__name__} array {name}; it is damaged")
    try:
        return StepTable(**{name: arrays[name] for name in kinds}, gain_std=float(arrays["gain_std"]))
    except (ConfigError, TypeError) as error:
        raise StateError(f"{path} is damaged: {error}") from None


def from_csv(
    path: str | Path, *, bins: int = 20, levels: int = 33, limits: tuple[float, float] | None = None
) -> StepTable:
    """Fit a table to measured pulses.

    Args:
        path: CSV file with the columns ``device``, ``direction`` and ``conductance``; see the head of this module.
        bins: Bins of equal width; the table is interpolated between their centres.
        levels: Quantiles of each bin. The first and last are not the extremes, which grow with the number of pulses:
            they are placed so that the tails, uniform between the outer quantiles, have the measured mean.
        limits: Lowest and highest conductance of the table; by default those of the readings.

    Raises:
        ConfigError: if the file cannot be read as such, or if a bin has fewer than 20 pulses of a direction.
    """
    return fit(read_csv(path), bins=bins, levels=levels, limits=limits)


def read_csv(path: str | Path) -> Steps:
    """The pulses of a CSV file."""
    names: dict[str, int] = {}
    last: dict[str, float] = {}
    steps: list[tuple[int, bool, float, float]] = []
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets start with a byte order mark
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text in UTF-8; save it as CSV in UTF-8") from None
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if not {"direction", "conductance"} <= set(reader.fieldnames):
            raise ConfigError(f"{path} needs a header with the columns direction and conductance (and device)")
        for row in reader:
            name, direction = row.get("device") or "", (row["direction"] or "").strip()
            try:
                conductance = float(row["conductance"])
            except (TypeError, ValueError):
                conductance = math.nan
            if not math.isfinite(conductance) or direction not in ("up", "down", ""):
                where = f"{path}, line {reader.line_num}"
                raise ConfigError(f"{where}: the conductance must be a number and the direction up, down or empty")
            if direction and name not in last:
                raise ConfigError(
                    f"{path}, line {reader.line_num}: device {name!r} has no reading before its first pulse"
                )
            if direction:
                number = names.setdefault(name, len(names))
                steps.append((number, direction == "up", last[name], conductance - last[name]))
            last[name] = conductance
    if not steps:
        raise ConfigError(f"{path} has no pulses; a row with a direction tells the pulse before its reading")
    device, up, before, change = zip(*steps, strict=True)
    return Steps(np.array(device, np.int64), np.array(up, np.bool_), np.array(before), np.array(change))


def fit(steps: Steps, *, bins: int = 20, levels: int = 33, limits: tuple[float, float] | None = None) -> StepTable:
    """Fit a table to pulses; see `from_csv`."""
    if bins < 1 or levels < 2:
        raise ConfigError("a step table needs at least one bin and two quantiles")
    after = steps.before + steps.change
    low, high = limits if limits is not None else (_least(steps.before, after), -_least(-steps.before, -after))
    if not low < high < math.inf:
        raise ConfigError(f"a step table needs limits that increase, not {low} and {high}")
    edges: Float64 = np.linspace(low, high, bins + 1)
    place = np.clip(((steps.before - low) / (high - low) * bins).astype(np.int64), 0, bins - 1)
    cell = place + bins * steps.up  # one number for each bin and direction
    counts = np.bincount(cell, minlength=2 * bins)
    if (sparse := np.flatnonzero(counts < MIN_STEPS)).size:
        at, direction = int(sparse[0]) % bins, "up" if sparse[0] >= bins else "down"
        raise ConfigError(
            f"between {edges[at]:.6g} and {edges[at + 1]:.6g} there are only {counts[sparse[0]]} {direction} pulses;"
            f" measure more, take fewer bins, or narrow the limits"
        )
    typical = (np.bincount(cell, steps.change, len(counts)) / counts)[cell]
    gains, gain_std = device_gains(steps, typical)
    normalised = steps.change / gains[steps.device]
    order = np.argsort(cell, kind="stable")
    parts = np.split(normalised[order], np.cumsum(counts)[:-1])
    quantiles = np.array([_quantiles(part, levels) for part in parts])
    return StepTable(edges, quantiles[bins:], quantiles[:bins], counts[bins:], counts[:bins], gain_std)


def _least(before: ArrayLike, after: ArrayLike) -> float:
    return float(min(np.min(before), np.min(after)))


def _quantiles(sample: Float64, levels: int) -> Float64:
    quantiles: Float64 = np.quantile(sample, np.linspace(0.0, 1.0, levels))
    if levels > 2:
        low, high = quantiles[1], quantiles[-2]
        quantiles[0] = 2.0 * sample[sample <= low].mean() - low
        quantiles[-1] = 2.0 * sample[sample >= high].mean() - high
    return quantiles


def device_gains(steps: Steps, typical: Float64) -> tuple[Float64, float]:
    """The factor on the steps of each device, mean 1, and its spread without the noise of the estimates.

    Args:
        steps: The measured pulses.
        typical: What each of them changes on a typical device, float64 [pulses], in any unit. The change of a device is
            its gain times that; least squares give the gain and its standard error.

    Raises:
        ConfigError: if a device moves against its pulses.
    """
    weight = np.bincount(steps.device, typical**2)
    gains = np.bincount(steps.device, typical * steps.change) / weight
    residual = steps.change - gains[steps.device] * typical
    variance = np.bincount(steps.device, (typical * residual) ** 2) / weight**2
    variance, gains = variance / gains.mean() ** 2, gains / gains.mean()
    if (gains <= 0.0).any():
        raise ConfigError("a device does not follow its pulses; leave it out of the measurement")
    spread = float(np.var(gains, ddof=1) - variance.mean()) if len(gains) > 1 else 0.0
    return gains, math.sqrt(max(spread, 0.0))
