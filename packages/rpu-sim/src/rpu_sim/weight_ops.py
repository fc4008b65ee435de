"""Operations on a weight matrix during hardware-aware training: noisy copies, clipping, remapping.

Pure functions: the input is never changed, and the result is an array of the same framework. In one training step the
order is clip, remap, modify.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, as_numpy, returner
from .config import WeightClipParameter, WeightModifierParameter, WeightRemapParameter
from .errors import DtypeError, NonFiniteError, ShapeError
from .reference import weight_ops as reference
from .seeds import derive_seed

_STEP_MASK = (1 << 32) - 1


def modify_weights(
    w: Array,
    modifier: WeightModifierParameter,
    *,
    seed: int,
    step: int = 0,
    samples: int | None = None,
    sample_offset: int = 0,
) -> Array:
    """The modified copy of a weight matrix that hardware-aware training computes with.

    Args:
        w: float32 [out, in] of NumPy, torch or another framework on the CPU.
        modifier: What is done to the copy.
        seed: Names the noise; use that of the tile.
        step: Call number; each value has noise of its own, and the same value repeats it.
        samples: None gives one copy, n gives n copies with noise of their own (``per_batch_sample``).
        sample_offset: Global index of the first of ``samples``, for batches that are split.

    Returns:
        float32 [out, in], or [samples, out, in].

    Raises:
        ConfigError: for an impossible modifier.
        NonFiniteError: if ``w`` contains NaN or infinity.
    """
    modifier.check()
    view = _matrix(w, "w")
    key = derive_seed(seed)
    numbers = [sample_offset] if samples is None else [sample_offset + i for i in range(samples)]
    copies = np.empty((len(numbers), *view.shape), np.float32)
    for copy, number in zip(copies, numbers, strict=True):
        copy[...] = reference.modify(view, modifier, step & _STEP_MASK, key, number & _STEP_MASK)
    return returner(w)(copies[0] if samples is None else copies)


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
    clip.check()
    return returner(w)(reference.clip(_matrix(w, "w"), clip))


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
    remap.check()
    view = _matrix(w, "w")
    old = _finite(as_numpy(scales, "scales"), "scales")
    if old.ndim != 1 or old.size not in (1, len(view)):
        raise ShapeError(
            f"scales has shape {tuple(old.shape)} but must have one element or {len(view)}, one per output"
        )
    new_w, new_scales = reference.remap(view, np.broadcast_to(old, (len(view),)), remap)
    return returner(w)(new_w), returner(scales)(new_scales)


def _matrix(array: Array, name: str) -> NDArray[np.float32]:
    view = as_numpy(array, name)
    if view.ndim != 2:
        raise ShapeError(f"{name} has shape {tuple(view.shape)} but must be a matrix [out, in]")
    return _finite(view, name)


def _finite(view: NDArray[Any], name: str) -> NDArray[np.float32]:
    if view.dtype != np.float32:
        raise DtypeError(f"{name} has dtype {view.dtype} but must be float32; convert it first")
    if not np.isfinite(view).all():
        raise NonFiniteError(f"{name} contains NaN or infinity; find where it comes from")
    return np.ascontiguousarray(view)
