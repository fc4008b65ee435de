"""Convolutions on a GPU: patches and their sums are those of the kernels, with the bits of the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from layer_examples import EXAMPLES, images, tiled

from aihw_torch import nn as ann
from aihw_torch.config import IOParameters, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.optim import AnalogSGD
from aihw_torch.patches import Kernel, patches

WITH_PADDING = [name for name in EXAMPLES if "conv" in name or "transposed" in name]


def noisy():
    return SingleRPUConfig(device=SoftBoundsDevice(), forward=IOParameters(out_noise=0.05))


# Without padding but by zeros and without bias, so that torch adds nothing up itself.
PLAIN = {
    "1d": (lambda c: ann.AnalogConv1d(4, 6, 3, 2, 1, 2, 2, False, rpu_config=c), images(4, 12)),
    "2d": (lambda c: ann.AnalogConv2d(2, 3, (3, 2), padding=1, bias=False, rpu_config=c), images(2, 6, 5)),
    "2d dilated": (lambda c: ann.AnalogConv2d(2, 3, 3, 2, 2, 2, bias=False, rpu_config=c), images(2, 8, 9)),
    "2d grid": (lambda c: ann.AnalogConv2d(2, 5, 3, bias=False, rpu_config=tiled(c)), images(2, 6, 5)),
    "3d": (lambda c: ann.AnalogConv3d(2, 4, 2, (1, 2, 1), 0, 2, 2, False, rpu_config=c), images(2, 4, 5, 4)),
    "1d transposed": (lambda c: ann.AnalogConvTranspose1d(2, 3, 3, 2, 1, 1, bias=False, rpu_config=c), images(2, 5)),
    "2d transposed": (
        lambda c: ann.AnalogConvTranspose2d(4, 6, 3, 1, 1, 0, 2, False, 2, rpu_config=c),
        images(4, 4, 3),
    ),
    "3d transposed": (lambda c: ann.AnalogConvTranspose3d(2, 3, 2, bias=False, rpu_config=c), images(2, 2, 3, 2)),
}


def assert_same_step(layer, x, device):
    """A step of training gives the same outputs, gradients and weights as on the CPU."""
    found = []
    for twin, place in ((layer, "cpu"), (copy.deepcopy(layer).to(device), device)):
        inputs = x.clone().to(place).requires_grad_()
        for _ in range(2):
            y = twin(inputs)
            y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(place))
        AnalogSGD(twin.parameters(), lr=0.1).step()
        found.append([y, inputs.grad, *twin.state_dict().values()])
    for on_cpu, elsewhere in zip(*found, strict=True):
        assert torch.equal(elsewhere.cpu(), on_cpu)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_convolutions(device, name, channels_last):
    make, inputs = PLAIN[name]
    (x,) = inputs()
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    assert_same_step(make(noisy()), x, device)


@pytest.mark.parametrize("name", WITH_PADDING)
def test_convolutions_with_all_paddings(emulated, name):
    example = EXAMPLES[name]
    assert_same_step(example.make(noisy()), *example.inputs(), emulated)


def test_second_derivatives(device):
    found = []
    for place in ("cpu", device):
        x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(2)).to(place).requires_grad_()
        rows = patches(x, Kernel((3, 2), (1, 2), (1, 1)))
        (first,) = torch.autograd.grad(rows.pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        found.append((rows, first, second))
    for on_cpu, elsewhere in zip(*found, strict=True):
        assert torch.equal(elsewhere.cpu(), on_cpu)


def test_operations_of_the_dispatcher(device):
    """What compilers call."""
    x, rows = torch.randn(2, 3, 6, 5), torch.randn(2, 4, 2, 18)
    kernel = [3, 2], [1, 2], [1, 1]
    for name, values, shape in (("patches", x, ()), ("images", rows, ([2, 3, 6, 5],))):
        found = []
        for place in ("cpu", device):
            given = values.clone().to(place).requires_grad_()
            result = getattr(torch.ops.aihw, name)(given, *shape, *kernel)
            result.square().sum().backward()
            found.append((result, given.grad))
        for on_cpu, elsewhere in zip(*found, strict=True):
            assert torch.equal(elsewhere.cpu(), on_cpu)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types_are_cut_by_torch(device, dtype):
    x, kernel = torch.randn(2, 3, 6, 5).to(dtype), Kernel((3, 2), (1, 2), (2, 1))
    assert torch.equal(patches(x.to(device), kernel).cpu(), patches(x, kernel))


def test_no_images(device):
    layer = ann.AnalogConv2d(2, 3, 3, rpu_config=noisy()).to(device)
    x = torch.zeros(0, 2, 6, 5).to(device).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
