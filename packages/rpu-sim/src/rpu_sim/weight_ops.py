"""Operations on a weight matrix during hardware-aware training: noisy copies, clipping, remapping.

Pure functions: the input is never changed, and the result is an array of the same framework. In one training step the
order is clip, remap, modify.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from .arrays import Array, Float32
from .config import WeightClipParameter, WeightModifierParameter, WeightRemapParameter
from .config.base import ConfigBase
from .errors import ConfigError, DtypeError, NonFiniteError, ShapeError
from .gpu import Space, host, space_of
from .seeds import derive_seed

_STEP_MASK = (1 << 32) - 1


class WeightModifier:
    """A checked modifier for many calls: what `modify_weights` does, without its 40 us of preparation each time.

    It keeps a copy of its parameters. Copies and pickles are independent modifiers with equal parameters.

    Args:
        parameters: What is done to a modified copy.

    Attributes:
        spec: The same for the core.

    Raises:
        ConfigError: for an impossible modifier.
    """

    def __init__(self, parameters: WeightModifierParameter) -> None:
        _check(parameters, WeightModifierParameter)
        self.parameters = p = parameters.frozen_copy()
        self.spec = _core.ModifierSpec(p, p.noise_polynomial, p.log_drift_time, p.read_noise)

    def __reduce__(self) -> tuple[type[WeightModifier], tuple[WeightModifierParameter]]:
        return WeightModifier, (self.parameters,)

    def __call__(
        self, w: Array, *, seed: int, step: int = 0, samples: int | None = None, sample_offset: int = 0
    ) -> Array:
        """A modified copy; see `modify_weights`."""
        space = space_of(w)
        view = _matrix(space, w, "w")
        if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
            raise ShapeError(f"samples must be a positive integer or None, not {samples!r}")
        copies = space.result(view, (1 if samples is None else samples, *view.shape))
        numbers = (derive_seed(seed), step & _STEP_MASK, sample_offset & _STEP_MASK)
        _core.modify_weights(self.spec, view, copies, *numbers)
        return space.returned(copies[0] if samples is None else copies, w)


def modify_weights(
    w: Array,
    modifier: WeightModifierParameter,
    *,
    seed: int,
    step: int = 0,
    samples: int | None = None,
    sample_offset: int = 0,
) -> Array:
    """The modified copy of a weight matrix that hardware-aware training computes with (see also `WeightModifier`).

    Args:
        w: float32 [out, in] of NumPy, torch or another framework on the CPU, or of torch or CuPy on a GPU.
        modifier: What is done to the copy.
        seed: Names the noise; use that of the tile.
        step: Call number; each value has noise of its own, and the same value repeats it.
        samples: None gives one copy, n gives n copies with noise of their own (``per_batch_sample``).
        sample_offset: Global index of the first of ``samples``, for batches that are split.

    Returns:
        float32 [out, in], or [samples, out, in].

    Raises:
        ConfigError: for an impossible modifier.
        NonFiniteError: if ``w`` contains NaN or infinity; on a GPU see `Tile.synchronize`.
    """
    return WeightModifier(modifier)(w, seed=seed, step=step, samples=samples, sample_offset=sample_offset)


def clip_weights(w: Array, clip: WeightClipParameter) -> Array:
    """A copy of the weights clipped to the bound that ``clip`` describes.

    Args:
        w: float32 [out, in].
        clip: FIXED_VALUE clips to ``fixed_value``; LAYER_GAUSSIAN to ``sigma`` standard deviations of all weights;
            AVERAGE_CHANNEL_MAX to the mean over the outputs of the largest absolute weight. A positive ``fixed_value``
            also limits the other bounds. A bound of 0 does not clip.

    Raises:
        ConfigError: for an impossible clip.
        NonFiniteError: if ``w`` contains NaN or infinity.
    """
    _check(clip, WeightClipParameter)
    space = space_of(w)
    view = _matrix(space, w, "w")
    result = space.result(view, tuple(view.shape))
    _core.clip_weights(clip, view, result)
    return space.returned(result, w)


class WeightClip:
    """A checked clip for many calls that mostly find nothing to clip.

    It keeps a copy of its parameters. Copies and pickles are independent clips with equal parameters.

    Args:
        parameters: The bound, see `clip_weights`.

    Raises:
        ConfigError: for an impossible clip.
    """

    def __init__(self, parameters: WeightClipParameter) -> None:
        _check(parameters, WeightClipParameter)
        self.parameters = parameters.frozen_copy()
        self._spec = _core.ClipSpec(self.parameters)

    def __reduce__(self) -> tuple[type[WeightClip], tuple[WeightClipParameter]]:
        return WeightClip, (self.parameters,)

    def leaves(self, w: Array) -> bool:
        """Whether the weights, float32 [out, in], are within the bound, so that `clip_weights` would change nothing.

        On a GPU this waits for the answer.

        Raises:
            NonFiniteError: if ``w`` contains NaN or infinity; on a GPU see `Tile.synchronize`.
        """
        return bool(_core.is_clipped(self._spec, _matrix(space_of(w), w, "w")))

    def hold(self, w: Float32, scales: Float32 | None = None) -> bool:
        """Clip ``w / scales`` to the bound, in ``w`` itself; return whether anything was beyond it.

        Args:
            w: float32 [out, in] of NumPy; what is within the bound keeps its bits.
            scales: float32 [out] or [1], or None for 1.

        Raises:
            NonFiniteError: if ``w`` contains NaN or infinity.
        """
        return self.hold_at(w, w.shape, scales, 0 if scales is None else scales.size)

    def hold_at(self, w: Any, shape: tuple[int, ...], scales: Any, n_scales: int) -> bool:
        """The same with the shape of ``w`` and the number of scales, where both may be addresses of float32 memory."""
        rows, columns = shape
        return bool(_core.clip_in_place(self._spec, w, rows, columns, scales, n_scales))


def remap_weights(w: Array, scales: Array, remap: WeightRemapParameter) -> tuple[Array, Array]:
    """Weights that use the range of the devices, and output scales that keep the product ``scales[:, None] * w``.

    Each new weight and each new scale is rounded once, so products agree within one unit in the last place. Outputs (or
    a matrix) of zeros keep their scale.

    Args:
        w: float32 [out, in].
        scales: float32 [out], or [1] for all outputs.
        remap: LAYERWISE_SYMMETRIC brings the largest absolute weight of the matrix to ``remapped_wmax``,
            CHANNELWISE_SYMMETRIC that of each output. With a positive ``max_scale_range`` no new scale of an output
            exceeds that many times the smallest old scale (or ``max_scale_ref``), and weights above 1 remain.

    Returns:
        The weights [out, in] and the scales [out].

    Raises:
        ConfigError: for an impossible remap.
        ShapeError: if there is not one scale per output.
        NonFiniteError: if ``w`` or ``scales`` contain NaN or infinity.
    """
    _check(remap, WeightRemapParameter)
    space = space_of(w)
    view = _matrix(space, w, "w")
    old = host(scales, "scales")
    if old.ndim != 1 or old.size not in (1, len(view)):
        raise ShapeError(f"scales has shape {tuple(old.shape)} but needs one element, or {len(view)} for the outputs")
    if old.dtype != np.float32 or not np.isfinite(old).all():
        raise NonFiniteError("scales must be finite float32 numbers")
    new, result = space.result(view, (len(view),)), space.result(view, tuple(view.shape))
    space.write(new, np.broadcast_to(old, (len(view),)))
    _core.remap_weights(remap, view, result, new)
    return space.returned(result, w), space.returned(new, scales)


def _matrix(space: Space, array: Array, name: str) -> Any:
    view = space.borrow(array, name)
    if str(view.dtype).removeprefix("torch.") != "float32":
        raise DtypeError(f"{name} has dtype {view.dtype} but must be float32; convert it first")
    if view.ndim != 2:
        raise ShapeError(f"{name} has shape {tuple(view.shape)} but must be a matrix [out, in]")
    return space.samples(view, view.shape[1], name)[0]


def _check(parameters: Any, kind: type[ConfigBase]) -> None:
    """Raise `ConfigError` unless the parameters are of this kind and possible."""
    if not isinstance(parameters, kind):
        raise ConfigError(f"the parameters must be a {kind.__name__}, not {parameters!r}")
    parameters.check()
