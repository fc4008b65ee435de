"""What the samples of a product are: the rows of a matrix, or the patches of images, which are never copied as a whole.

Both have the same methods, which `InferenceProduct` is made of.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from aihw_torch.inference.reading import Address, Reading
from aihw_torch.patches import Kernel, format_of


class Geometry(Protocol):
    """The part of a product that depends on what its samples are."""

    def samples(self, x: Tensor) -> int:
        """Return the number of samples of an input."""

    def product(self, reading: Reading, u: Tensor, copy: Tensor, address: Address) -> Tensor:
        """Return what the array computes, [..., out], of inputs u in units of the DAC."""

    def errors(self, d: Tensor, u: Tensor) -> Tensor:
        """Return the gradients d [samples, out] as the two methods below take them."""

    def input_gradient(self, d: Tensor, copy: Tensor, scale: Tensor | None, u: Tensor) -> Tensor:
        """Return the gradient of u, for y = s (copy u)."""

    def weight_gradient(self, d: Tensor, u: Tensor, factor: float, before: Tensor | None = None) -> Tensor:
        """Return factor * the gradient of the copy, [out, in], added to `before`."""

    def fraction(self, marked: Tensor) -> float:
        """Return which part of the elements of all samples is marked, by 1 in zeros of the shape of u."""


class Rows:
    """Samples that are rows: x [..., in]."""

    def samples(self, x: Tensor) -> int:  # noqa: D102
        return x.numel() // x.shape[-1]

    def product(self, reading: Reading, u: Tensor, copy: Tensor, address: Address) -> Tensor:  # noqa: D102
        return reading.product(u, copy, address)

    def errors(self, d: Tensor, u: Tensor) -> Tensor:  # noqa: D102
        return d

    def input_gradient(self, d: Tensor, copy: Tensor, scale: Tensor | None, u: Tensor) -> Tensor:  # noqa: D102
        if copy.ndim == 3:
            return torch.einsum("no,noi->ni", d if scale is None else d * scale, copy).view(u.shape)
        if scale is None:
            return (d @ copy).view(u.shape)
        dx = (d * scale) @ copy if d.shape[0] < copy.shape[1] else d @ (copy * scale.view(-1, 1))
        return dx.view(u.shape)

    def weight_gradient(  # noqa: D102
        self, d: Tensor, u: Tensor, factor: float, before: Tensor | None = None
    ) -> Tensor:
        start, beta = (d.new_empty(()), 0.0) if before is None else (before, 1.0)
        return torch.addmm(start, d.T, u.reshape(-1, u.shape[-1]), beta=beta, alpha=factor)

    def fraction(self, marked: Tensor) -> float:  # noqa: D102
        return marked.sum().item() / marked.numel()


class Patches(NamedTuple):
    """Samples that are what the positions of a kernel see: x [samples, channels, *size], padded.

    The gradient of the input has its memory format, because pooling is slow to follow one in another.
    """

    kernel: Kernel

    def samples(self, x: Tensor) -> int:  # noqa: D102
        return x.shape[0] * math.prod(self.kernel.positions(x.shape))

    def product(self, reading: Reading, u: Tensor, copy: Tensor, address: Address) -> Tensor:  # noqa: D102
        return reading.product_of_windows(self.kernel.windows(u.contiguous()), copy, address)

    def errors(self, d: Tensor, u: Tensor) -> Tensor:  # noqa: D102
        d = d.view(u.shape[0], *self.kernel.positions(u.shape), d.shape[1]).movedim(-1, 1)
        return d.contiguous() if u.shape[1] == 1 else d  # one channel is slow where channels come last

    def input_gradient(self, d: Tensor, copy: Tensor, scale: Tensor | None, u: Tensor) -> Tensor:  # noqa: D102
        weight = copy if scale is None else copy * scale.view(-1, 1)
        return self._gradients(d, u, weight, (True, False, False))[0].contiguous(memory_format=format_of(u))

    def weight_gradient(  # noqa: D102
        self, d: Tensor, u: Tensor, factor: float, before: Tensor | None = None
    ) -> Tensor:
        elements = u.shape[1] * math.prod(self.kernel.size)
        gradient = self._gradients(d, u, d.new_empty(()).expand(d.shape[1], elements), (False, True, False))[1]
        gradient = gradient.reshape(d.shape[1], elements).mul_(factor)
        return gradient if before is None else gradient.add_(before)

    def _gradients(self, d: Tensor, u: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, ...]:
        kernel, zeros = self.kernel, [0] * len(self.kernel.size)
        weight = weight.view(weight.shape[0], u.shape[1], *kernel.size)
        found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
            d, u, weight, [0], kernel.stride, zeros, kernel.dilation, False, zeros, 1, wanted
        )
        return found

    def fraction(self, marked: Tensor) -> float:  # noqa: D102
        uses = _uses(tuple(marked.shape[2:]), *(tuple(each) for each in self.kernel))
        elements = self.samples(marked) * marked.shape[1] * math.prod(self.kernel.size)
        return torch.dot(marked.sum((0, 1)).view(-1), uses).item() / elements


@functools.lru_cache(maxsize=64)
def _uses(image: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
    """Return in how many patches each pixel is, flat."""
    uses = torch.ones(1)
    for pixels, k, s, d in zip(image, size, stride, dilation, strict=True):
        first = torch.arange((pixels - d * (k - 1) - 1) // s + 1) * s
        seen = (first.view(-1, 1) + torch.arange(k) * d).view(-1)
        uses = torch.outer(uses, torch.bincount(seen, minlength=pixels).float()).view(-1)
    return uses
