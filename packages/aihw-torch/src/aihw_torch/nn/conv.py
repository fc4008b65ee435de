"""Analog convolutions: every position of the kernel is one product with the array."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aihw_torch.errors import DtypeError, ShapeError
from aihw_torch.nn.layer import AnalogLayer, check_bias, check_sizes
from aihw_torch.patches import Kernel, images, patches
from aihw_torch.tiles import TileModule


class _Convolution(AnalogLayer):
    """What convolutions and transposed convolutions share: the geometry, and inputs with or without samples."""

    # Those of torch's layer.
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    padding_mode: Any

    def _twin(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, **rest: Any
    ) -> Any:
        """Return the layer of torch with this geometry, without values."""
        checked = {"groups": rest["groups"], "dilation": rest["dilation"], "kernel_size": kernel_size, "stride": stride}
        check_sizes(in_channels=in_channels, out_channels=out_channels, **checked)
        check_bias(rest["bias"])
        if not isinstance(padding, str):
            check_sizes(0, padding=padding)
        return self.DIGITAL(in_channels, out_channels, kernel_size, stride, padding, **rest, device="meta")

    def _with_samples(self, input: Tensor) -> tuple[Tensor, bool]:
        """Return an input as [samples, channels, *size], and whether it was that already."""
        if not isinstance(input, Tensor) or input.layout is not torch.strided:
            kind = input.layout if isinstance(input, Tensor) else type(input).__name__
            raise DtypeError(f"this layer takes a dense torch.Tensor, not {kind}; convert the input")
        spatial = len(self.kernel_size)
        batched = input.ndim == spatial + 2
        x = input if batched else input.unsqueeze(0)
        if x.ndim != spatial + 2 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f"the input has the shape {tuple(input.shape)}, this layer takes [samples, {self.in_channels}, ...] "
                f"with {spatial} spatial dimensions"
            )
        return x, batched


class AnalogConvNd(_Convolution):
    """The convolutions of all numbers of dimensions; the matrix is [out_channels, in_channels / groups * kernel]."""

    _reversed_padding_repeated_twice: list[int]  # that of torch's layer

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rpu_config: Any = None,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        rest = {"dilation": dilation, "groups": groups, "bias": bias, "padding_mode": padding_mode}
        twin = self._twin(in_channels, out_channels, kernel_size, stride, padding, **rest)
        columns = twin.weight[0].numel()
        self._build(twin, out_channels, columns, rpu_config, tile_module_class, seed, groups=groups)

    def _geometry(self) -> tuple[Any, ...]:
        head = (self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation)
        return *head, self.groups, self.use_bias, self.padding_mode

    def _digital(self) -> nn.Module:
        return self.DIGITAL(*self._geometry())

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return matrix.view(self.out_channels, -1, *self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs [samples, out_channels, *size], or without samples, of the inputs."""
        x, batched = self._with_samples(input)
        if any(self._reversed_padding_repeated_twice):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=mode)
        kernel, module = Kernel(self.kernel_size, self.stride, self.dilation), self.analog_module
        rows: Tensor = module.of_patches(x, kernel) if isinstance(module, TileModule) else module(patches(x, kernel))
        y = rows.movedim(-1, 1)
        return y if batched else y.squeeze(0)

    @classmethod
    def _like(cls, digital: Any, rpu_config: Any, tile_module_class: Any) -> Self:
        options = {"rpu_config": rpu_config, "tile_module_class": tile_module_class}
        return cls(*_geometry_of(digital), **options)


def _geometry_of(digital: Any) -> tuple[Any, ...]:
    head = (digital.in_channels, digital.out_channels, digital.kernel_size, digital.stride, digital.padding)
    return *head, digital.dilation, digital.groups, digital.bias is not None, digital.padding_mode


class AnalogConv1d(AnalogConvNd, nn.Conv1d):
    """`torch.nn.Conv1d` on tiles, with the arguments of `AnalogConv2d`."""

    DIGITAL = nn.Conv1d


class AnalogConv2d(AnalogConvNd, nn.Conv2d):
    """`torch.nn.Conv2d` on tiles.

    Each group of channels is a matrix of its own, of out_channels / groups rows and in_channels / groups * kernel
    elements columns; it is on one tile, or on a grid of tiles as `mapping.max_input_size` and `mapping.max_output_size`
    say.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as in torch.
        rpu_config: what is simulated, `SingleRPUConfig()` by default.
        tile_module_class: the module that holds the matrix of each group, by default as its size needs.
        use_indexed: accepted for ported scripts; there is one way of execution.
        seed: of all randomness of the layer's tiles; by default it follows torch's random state.
    """

    DIGITAL = nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rpu_config: Any = None,
        tile_module_class: Any = None,
        use_indexed: bool | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            rpu_config,
            tile_module_class,
            seed=seed,
        )


class AnalogConv3d(AnalogConvNd, nn.Conv3d):
    """`torch.nn.Conv3d` on tiles, with the arguments of `AnalogConv2d`."""

    DIGITAL = nn.Conv3d


class AnalogConvTransposeNd(_Convolution):
    """The transposed convolutions: every input pixel is one product; the overlapping outputs are added digitally.

    The matrix is [out_channels / groups * kernel elements, in_channels / groups] for each group. The bias is digital.
    """

    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        rpu_config: Any = None,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        check_sizes(0, output_padding=output_padding)
        rest = {"groups": groups, "bias": bias, "dilation": dilation, "padding_mode": padding_mode}
        rest["output_padding"] = output_padding
        twin = self._twin(in_channels, out_channels, kernel_size, stride, padding, **rest)
        elements = twin.weight[0, 0].numel()
        rows = out_channels * elements
        columns = in_channels // groups
        options: dict[str, Any] = {"groups": groups, "bias_on_tiles": False}
        self._build(twin, rows, columns, rpu_config, tile_module_class, seed, **options)

    def _digital(self) -> nn.Module:
        head = (self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.output_padding)
        return self.DIGITAL(*head, self.groups, self.use_bias, self.dilation, self.padding_mode)

    def _to_matrix(self, weight: Tensor) -> Tensor:
        # torch: [in_channels, out_channels / groups, *kernel]
        blocks = weight.reshape(self.groups, self.in_channels // self.groups, -1)
        return blocks.transpose(1, 2).reshape(-1, self.in_channels // self.groups)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        columns = self.in_channels // self.groups
        blocks = matrix.view(self.groups, -1, columns).transpose(1, 2)
        return blocks.reshape(self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the outputs [samples, out_channels, *size], or without samples; output_size is as in torch."""
        x, batched = self._with_samples(input)
        spatial = len(self.kernel_size)
        padding = self._output_padding(  # type: ignore[operator]
            x, output_size, self.stride, self.padding, self.kernel_size, spatial, self.dilation
        )
        kernel = Kernel(self.kernel_size, self.stride, self.dilation)
        whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(x.shape[2:], *kernel, strict=True)]
        y = images(self.analog_module(x.movedim(1, -1)), (x.shape[0], self.out_channels, *whole), kernel)
        margins = [margin for p, more in zip(self.padding, padding, strict=True) for margin in (more - p, -p)]
        y = F.pad(y, margins[::-1]) if any(margins) else y
        if self.bias is not None:
            y = y + self.bias.view(-1, *[1] * spatial)
        return y if batched else y.squeeze(0)

    @classmethod
    def _like(cls, digital: Any, rpu_config: Any, tile_module_class: Any) -> Self:
        head = (digital.in_channels, digital.out_channels, digital.kernel_size, digital.stride, digital.padding)
        tail = (
            digital.output_padding,
            digital.groups,
            digital.bias is not None,
            digital.dilation,
            digital.padding_mode,
        )
        return cls(*head, *tail, rpu_config, tile_module_class)


class AnalogConvTranspose1d(AnalogConvTransposeNd, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` on tiles; see `AnalogConvTranspose2d`."""

    DIGITAL = nn.ConvTranspose1d


class AnalogConvTranspose2d(AnalogConvTransposeNd, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` on tiles: arguments as in torch, then `rpu_config`, `tile_module_class` and `seed`.

    Every input pixel is one product with a matrix of out_channels * kernel elements rows; where the results overlap
    they are added digitally, and so is the bias.
    """

    DIGITAL = nn.ConvTranspose2d


class AnalogConvTranspose3d(AnalogConvTransposeNd, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` on tiles; see `AnalogConvTranspose2d`."""

    DIGITAL = nn.ConvTranspose3d
