"""The patches of a convolution beside those that torch cuts."""

from __future__ import annotations

import pytest
import torch

from aihw_torch.config import SingleRPUConfig
from aihw_torch.nn import AnalogConv2d
from aihw_torch.patches import Kernel, patches

KERNELS = {
    "1d_strided": ((3, 2, 9), Kernel((3,), (2,), (1,))),
    "2d": ((3, 4, 9, 8), Kernel((3, 2), (2, 1), (1, 2))),
    "2d_pixels": ((2, 3, 5, 4), Kernel((1, 1), (2, 1), (1, 1))),
    "3d": ((2, 2, 4, 5, 6), Kernel((2, 1, 3), (1, 2, 2), (2, 1, 1))),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_patches_are_those_of_unfold(name, channels_last):
    shape, kernel = KERNELS[name]
    x = torch.randn(shape)
    x = (x.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else x).requires_grad_()
    twin = x.detach().double().requires_grad_()  # of another type, cut by torch itself
    rows, expected = patches(x, kernel), patches(twin, kernel)
    assert torch.equal(rows.double(), expected)
    gradient = torch.randn_like(rows)
    rows.backward(gradient)
    expected.backward(gradient.double())
    torch.testing.assert_close(x.grad.double(), twin.grad)


def test_patches_have_second_derivatives():
    x = torch.randn(2, 3, 6, 5, requires_grad=True)
    for y in (x, x.double()):
        rows = patches(y, Kernel((3, 2), (1, 2), (1, 1)))
        (first,) = torch.autograd.grad(rows.pow(3).sum(), y, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), y)
        if y is x:
            kept = second
    torch.testing.assert_close(kept, second.float())


def test_operations_of_patches():
    x, rows = torch.randn(2, 3, 6, 5, requires_grad=True), torch.randn(2, 4, 2, 18, requires_grad=True)
    kernel = Kernel([3, 2], [1, 2], [1, 1])
    torch.library.opcheck(torch.ops.aihw.patches.default, (x, *kernel))
    torch.library.opcheck(torch.ops.aihw.images.default, (rows, [2, 3, 6, 5], *kernel))


def test_patches_are_recorded_without_another_copy():
    layer, image, given = AnalogConv2d(2, 3, 3, rpu_config=SingleRPUConfig()), torch.rand(2, 2, 6, 5), []
    layer.analog_module.register_forward_pre_hook(lambda tile, args: given.append(args[0].data_ptr()))
    layer(image).square().sum().backward()
    image.zero_()  # as a buffer of inputs that is used again before the step
    x, _ = layer.analog_module.record.peek()
    assert x.data_ptr() == given[0]
    assert bool((x != 0.0).all())


def test_the_record_of_a_convolution_is_the_gradient():
    layer = AnalogConv2d(2, 3, 3, rpu_config=SingleRPUConfig())
    twin = torch.nn.functional.conv2d
    image, gradient = torch.rand(2, 2, 6, 5), torch.randn(2, 3, 4, 3)
    layer(image).backward(gradient)
    weight = torch.zeros(3, 2, 3, 3, requires_grad=True)
    twin(image, weight).backward(gradient)
    x, d = layer.analog_module.record.peek()
    torch.testing.assert_close((d.T @ x).view(3, 2, 3, 3), weight.grad)
    torch.testing.assert_close(layer.analog_module.weight_token.grad, weight.grad.norm().view(1))
