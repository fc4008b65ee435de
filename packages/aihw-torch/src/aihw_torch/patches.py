"""The patches that the positions of a kernel see, and the images that patches add up to."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aihw_torch import threads
from aihw_torch.errors import ShapeError
from aihw_torch.kept import give_away, unchanging
from aihw_torch.places import has_kernels
from rpu_sim import layers
from rpu_sim.windows import add_windows, copy_windows

_is_transformed = torch._C._functorch.is_functorch_wrapped_tensor
_is_tracing = torch._C._is_tracing


class Kernel(NamedTuple):
    """The geometry of a kernel, one number for each spatial dimension."""

    size: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]

    def positions(self, image: Sequence[int]) -> list[int]:
        """Return how many positions the kernel has in padded images [samples, channels, *size]."""
        each = zip(image[2:], self.size, self.stride, self.dilation, strict=True)
        return [(pixels - d * (k - 1) - 1) // s + 1 for pixels, k, s, d in each]

    def of_samples(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """Return the leading axes (samples, *positions) of what is computed for each position."""
        return _of_samples(self, image)

    def samples(self, image: tuple[int, ...]) -> int:
        """Return how many positions the kernel has in all images."""
        return math.prod(self.of_samples(image))

    def must_fit(self, image: Tensor) -> None:
        """Raise `ShapeError` for padded images that are smaller than the kernel."""
        for pixels, k, d in zip(image.shape[2:], self.size, self.dilation, strict=True):
            if pixels < d * (k - 1) + 1:
                raise ShapeError(
                    f"the padded image has {pixels} pixels in a dimension where the kernel spans {d * (k - 1) + 1}"
                )

    def windows(self, image: Tensor) -> Tensor:
        """Return the view [samples, *positions, channels, *kernel] of padded images."""
        sample, channel, *pixel = image.stride()
        steps = [s * stride for s, stride in zip(pixel, self.stride, strict=True)]
        inside = [s * dilation for s, dilation in zip(pixel, self.dilation, strict=True)]
        shape = (image.shape[0], *self.positions(image.shape), image.shape[1], *self.size)
        return image.as_strided(shape, (sample, *steps, channel, *inside))


class Patches(NamedTuple):
    """What the positions of a kernel see in images, which are not copied.

    Attributes:
        images: padded, float32 [samples, channels, *size] on the CPU, contiguous.
        kernel: its geometry.
    """

    images: Tensor
    kernel: Kernel

    def kept(self) -> Patches:
        """Return patches of images that stay as they are."""
        return Patches(unchanging(self.images), self.kernel)

    def windows(self) -> Tensor:
        """Return the view [samples, *positions, channels, *kernel]."""
        return self.kernel.windows(self.images)


def rows_of(x: Tensor | Patches) -> Tensor:
    """Return inputs as rows [samples, in]."""
    return _cut(*x).flatten(0, -2) if isinstance(x, Patches) else x


def weight_gradient(x: Tensor | Patches, d: Tensor) -> Tensor:
    """Return d^T x, [out, in], of inputs [samples, in] or patches, and d [samples, out], contiguous."""
    if not isinstance(x, Patches):
        return d.T @ x
    threads.follow_torch()
    (images, kernel), n_out = x, d.shape[-1]
    dw = d.new_empty(n_out, images.shape[1] * math.prod(kernel.size))
    layers.layer_gradients(
        compiled_kernel(*kernel),
        d.data_ptr(),
        images.data_ptr(),
        images.shape,
        channels_last=False,
        copy=None,
        outputs=n_out,
        scale=None,
        n_scales=0,
        z=None,
        bound=0.0,
        range=0.0,
        clips=False,
        decay=0.0,
        wanted=1.0,
        dx=None,
        dw=dw.data_ptr(),
        db=None,
        dr=None,
    )
    return dw


@functools.lru_cache(maxsize=1024)
def compiled_kernel(size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Return the kernel for the core."""
    return layers.Kernel(list(size), list(stride), list(dilation))


@functools.lru_cache(maxsize=1024)
def _of_samples(kernel: Kernel, image: tuple[int, ...]) -> tuple[int, ...]:
    return (image[0], *kernel.positions(image))


def is_plain(x: Tensor) -> bool:
    """Whether an input is float32 on the CPU and nothing but autograd looks at what is done with it (eager mode)."""
    return x.is_cpu and _is_eager(x)


def _is_eager(x: Tensor) -> bool:
    return x.dtype is torch.float32 and not _is_tracing() and not _is_transformed(x)


def patches(x: Tensor, kernel: Kernel) -> Tensor:
    """Return what each position of a kernel sees.

    Args:
        x: padded images, [samples, channels, *size].
        kernel: its geometry.

    Returns:
        [samples, *positions, channels * kernel elements], in the order of a flattened weight.
    """
    kernel.must_fit(x)
    if not _is_for_core(x):
        return _of_torch(x, kernel)
    if torch.compiler.is_compiling():
        rows: Tensor = patches_op(x, kernel.size, kernel.stride, kernel.dilation)
        return rows
    return give_away(_Patches.apply(x, kernel))  # type: ignore[no-untyped-call]


def images(rows: Tensor, shape: Sequence[int], kernel: Kernel) -> Tensor:
    """Return the images that patches add up to where they overlap, in the order of the positions.

    Args:
        rows: [samples, *positions, channels * kernel elements].
        shape: [samples, channels, *size] of the images, in which the kernel has these positions.
        kernel: its geometry.
    """
    if not _is_for_core(rows):
        return _joined_by_torch(rows, shape, kernel)
    if torch.compiler.is_compiling():
        joined: Tensor = images_op(rows, shape, kernel.size, kernel.stride, kernel.dilation)
        return joined
    joined = _Images.apply(rows, shape, kernel)  # type: ignore[no-untyped-call]
    return joined


def _is_for_core(x: Tensor) -> bool:
    """Whether `rpu_sim` cuts and joins these patches; else torch does."""
    if torch.compiler.is_compiling():
        return x.dtype is torch.float32 and (x.is_cpu or x.is_cuda)
    return _is_eager(x) and has_kernels(x)


def _of_torch(x: Tensor, kernel: Kernel) -> Tensor:
    for dim, (k, s, d) in enumerate(zip(*kernel, strict=True), start=2):
        x = x.unfold(dim, d * (k - 1) + 1, s)[..., ::d]
    spatial = len(kernel.size)
    positions = range(2, 2 + spatial)
    windows = x.permute(0, *positions, 1, *range(2 + spatial, 2 + 2 * spatial))
    return windows.flatten(1 + spatial)


def _joined_by_torch(rows: Tensor, shape: Sequence[int], kernel: Kernel) -> Tensor:
    """A transposed convolution with one kernel for each element, which puts it where it belongs."""
    channels, elements, spatial = shape[1], math.prod(kernel.size), len(kernel.size)
    places = torch.eye(elements, dtype=rows.dtype, device=rows.device).view(elements, 1, *kernel.size)
    add = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[spatial - 1]
    places = places.repeat(channels, 1, *[1] * spatial)
    return add(rows.movedim(-1, 1), places, None, kernel.stride, 0, 0, channels, kernel.dilation)


def _cut(x: Tensor, kernel: Kernel) -> Tensor:
    threads.follow_torch()
    if not x.is_contiguous() and math.prod(kernel.size) > 1:  # rows of a kernel are copied faster than single pixels
        x = x.contiguous()
    rows: Tensor = copy_windows(kernel.windows(x), 1 + len(kernel.size))
    return rows.view(x.shape[0], *kernel.positions(x.shape), rows.shape[1])


def format_of(x: Tensor) -> torch.memory_format:
    """Return in which order the axes of images lie in memory."""
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    if channels_last is None or x.is_contiguous() or not x.is_contiguous(memory_format=channels_last):
        return torch.contiguous_format
    return channels_last


def add_patches(rows: Tensor, shape: Sequence[int], kernel: Kernel) -> Tensor:
    """Return the images of a shape that rows [..., channels * kernel elements], one for each position, add up to."""
    threads.follow_torch()
    images = rows.new_zeros(shape)
    add_windows(rows.reshape(-1, rows.shape[-1]), kernel.windows(images), 1 + len(kernel.size))
    return images


class _Patches(torch.autograd.Function):
    """Images to patches; the gradient is the sum of those of the patches that overlap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Kernel) -> Tensor:
        ctx.shape, ctx.kernel, ctx.format = x.shape, kernel, format_of(x)
        return _cut(x.detach(), kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            images: Tensor = _Images.apply(gradient, ctx.shape, ctx.kernel)  # type: ignore[no-untyped-call]
            return images, None
        # In the format of the images, because pooling is slow to follow a gradient in another one.
        return add_patches(gradient, ctx.shape, ctx.kernel).contiguous(memory_format=ctx.format), None


class _Images(torch.autograd.Function):
    """Patches to the images that they add up to."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shape: Sequence[int], kernel: Kernel) -> Tensor:
        ctx.kernel = kernel
        return add_patches(rows.detach(), shape, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows: Tensor = _Patches.apply(gradient, ctx.kernel)  # type: ignore[no-untyped-call]
        return rows, None, None


@torch.library.custom_op("aihw::patches", mutates_args=())
def patches_op(x: Tensor, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """The patches of a kernel as an operation, for compilers; see `patches`."""
    return _cut(x, Kernel(size, stride, dilation))


@patches_op.register_fake
def _(x, size, stride, dilation):  # type: ignore[no-untyped-def]
    elements = x.shape[1]
    for k in size:
        elements = elements * k
    return x.new_empty(x.shape[0], *Kernel(size, stride, dilation).positions(x.shape), elements)


@torch.library.custom_op("aihw::images", mutates_args=())
def images_op(
    rows: Tensor, shape: Sequence[int], size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """The images of the shape `shape` that patches add up to."""
    return add_patches(rows, shape, Kernel(size, stride, dilation))


@images_op.register_fake
def _(rows, shape, size, stride, dilation):  # type: ignore[no-untyped-def]
    return rows.new_empty(shape)


def _keep_patches(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.kernel = inputs
    ctx.shape = x.shape


def _differentiate_patches(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return images_op(gradient, ctx.shape, *ctx.kernel), None, None, None


def _keep_images(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, *ctx.kernel = inputs


def _differentiate_images(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return patches_op(gradient, *ctx.kernel), None, None, None, None


patches_op.register_autograd(_differentiate_patches, setup_context=_keep_patches)
images_op.register_autograd(_differentiate_images, setup_context=_keep_images)
