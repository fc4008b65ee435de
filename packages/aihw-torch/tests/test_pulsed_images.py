"""Pulsed convolutions read and are updated by images in place: beside the same layers with patches that a hook sees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from test_image_products import LAYERS
from torch.utils.checkpoint import checkpoint

from aihw_torch.config import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
)
from aihw_torch.errors import DtypeError, NonFiniteError
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import AnalogTile

CONFIGS: dict[str, Any] = {
    "constant": lambda: SingleRPUConfig(device=ConstantStepDevice()),
    "digital": lambda: FloatingPointRPUConfig(),
    "scaled": lambda: _scaled(),
    "tiki_taka": lambda: UnitCellRPUConfig(
        device=TransferCompound(unit_cell_devices=[SoftBoundsDevice(), SoftBoundsDevice()], transfer_every=2)
    ),
}


def _scaled() -> SingleRPUConfig:
    rpu = SingleRPUConfig(device=SoftBoundsDevice())
    rpu.mapping.weight_scaling_omega, rpu.mapping.weight_scaling_columnwise = 0.4, True
    return rpu


def pair(name: str, kind: str = "constant") -> tuple[Any, Any, torch.Tensor]:
    """A layer that reads images, its twin that cuts patches because a hook looks at them, and images."""
    make, arguments, options, shape = LAYERS[name]
    torch.manual_seed(4)
    layer = make(*arguments, rpu_config=CONFIGS[kind](), seed=9, **options)
    twin = copy.deepcopy(layer)
    twin.analog_module.register_forward_pre_hook(lambda tile, args: None)
    return layer, twin, torch.randn(shape)


def backward(layer: Any, x: torch.Tensor, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The output and the gradient of the input."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    y.backward(0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)))
    return y.detach(), x.grad


def assert_same_state(layer: Any, twin: Any) -> None:
    states = layer.state_dict(), twin.state_dict()
    for name, values in states[0].items():
        assert torch.equal(values, states[1][name]), name


def token_gradients(layer: Any) -> list[torch.Tensor]:
    return [tile.weight_token.grad for tile in layer.analog_tiles()]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", LAYERS)
def test_training_has_the_bits_of_patches(name: str, kind: str, channels_last: bool) -> None:
    layer, twin, x = pair(name, kind)
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    optimizers = [AnalogSGD(each.parameters(), lr=0.1) for each in (layer, twin)]
    for step in range(3):
        (y, dx), (expected, gradient) = backward(layer, x, step), backward(twin, x, step)
        assert torch.equal(y, expected)
        assert torch.equal(dx, gradient)
        for norm, other in zip(token_gradients(layer), token_gradients(twin), strict=True):
            torch.testing.assert_close(norm, other, rtol=1e-5, atol=0.0)
        assert len(layer.analog_module.record) == len(twin.analog_module.record) == y.numel() // y.shape[1]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        assert_same_state(layer, twin)
    assert torch.equal(layer.eval()(x), twin.eval()(x))
    assert not torch.equal(layer.get_weights()[0], pair(name, kind)[0].get_weights()[0])


def test_the_record_is_a_copy_of_the_images() -> None:
    layer, twin, x = pair("2d")
    for each in (layer, twin):
        images = x.clone().requires_grad_()
        each(images).sum().backward()
        with torch.no_grad():
            images.zero_()
        AnalogSGD(each.parameters(), lr=0.1).step()
    assert_same_state(layer, twin)


def test_gradients_of_several_uses_are_added() -> None:
    layer, twin, x = pair("2d")
    for each in (layer, twin):
        backward(each, x, 1)
        backward(each, 0.5 * x, 2)
        assert len(each.analog_module.record) > x.shape[0]
    torch.testing.assert_close(token_gradients(layer)[0], token_gradients(twin)[0], rtol=1e-5, atol=0.0)
    for each in (layer, twin):
        each.analog_module.weight_token.grad.mul_(0.5)  # as clipping does
        AnalogSGD(each.parameters(), lr=0.1).step()
    # The factor is the ratio of two rounded norms, and a train that depends on it may fire in another slot.
    torch.testing.assert_close(layer.get_weights()[0], twin.get_weights()[0], rtol=0.0, atol=0.02)


def test_what_was_recorded_can_be_looked_at() -> None:
    layer, twin, x = pair("2d dilated")
    backward(layer, x)
    backward(twin, x)
    for found, expected in zip(layer.analog_module.record.peek(), twin.analog_module.record.peek(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_repeats_the_noise(reentrant: bool) -> None:
    layer, twin, x = pair("2d")
    results = []
    for each in (layer, twin):
        images = x.clone().requires_grad_()
        y = checkpoint(each, images, use_reentrant=reentrant)
        y.square().sum().backward()
        results.append((y, images.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert len(layer.analog_module.record) == len(twin.analog_module.record)


def test_images_with_nan_change_nothing() -> None:
    layer, _, x = pair("2d")
    before = layer.state_dict()
    x[1, 2, 3, 4] = torch.nan
    with pytest.raises(NonFiniteError, match="x contains NaN"):
        layer(x)
    for name, values in layer.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_images_that_are_changed_before_the_backward_pass() -> None:
    layer, _, x = pair("2d")
    x.requires_grad_()
    y = layer(x)
    with torch.no_grad():
        x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_no_images() -> None:
    layer, twin, x = pair("2d")
    for each in (layer, twin):
        y, dx = backward(each, x[:0])
        assert (y.shape, dx.shape) == ((0, 4, 6, 6), (0, 3, 8, 7))
        assert token_gradients(each)[0].item() == 0.0
        AnalogSGD(each.parameters(), lr=0.1).step()
    assert_same_state(layer, twin)


def test_the_default_type_of_torch_is_not_that_of_the_norm() -> None:
    layer, twin, x = pair("2d")
    d = 0.1 * torch.randn(4, 4, 6, 6)
    twin(x).backward(d)
    torch.set_default_dtype(torch.float64)
    try:
        layer(x).backward(d)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(token_gradients(layer)[0], token_gradients(twin)[0], rtol=1e-5, atol=0.0)


def test_forwards_of_other_ways_see_patches() -> None:
    """Of a derived class, and one that another library has put on the object."""

    class Halved(AnalogTile):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            seen.append(rows.shape)
            return 0.5 * super().forward(rows)

    layer, twin, x = pair("2d")
    seen: list[Any] = []
    plain = layer.analog_module.forward
    layer.analog_module.forward = lambda rows: 0.5 * (seen.append(rows.shape), plain(rows))[1]
    expected = 0.5 * twin(x)
    assert torch.equal(layer(x), expected)
    derived, _, _ = pair("2d")
    derived.analog_module.__class__ = Halved
    assert torch.equal(derived(x), expected)
    assert seen == 2 * [(4, 6, 6, 18)]


@pytest.mark.parametrize("x", [None, [[0.0]], torch.zeros(1, 3, 8, 7).to_sparse()])
def test_what_is_no_dense_tensor_is_refused(x: Any) -> None:
    layer, _, _ = pair("2d")
    with pytest.raises(DtypeError, match=r"takes a dense torch\.Tensor, not"):
        layer(x)
    assert int(layer.analog_module.forward_step) == 0
