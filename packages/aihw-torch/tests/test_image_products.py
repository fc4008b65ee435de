"""Hardware-aware convolutions read images in place: beside the same layers with patches that a hook looks at."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from aihw_torch.config import (
    BoundManagementType,
    InferenceRPUConfig,
    NoiseManagementType,
    WeightClipType,
    WeightModifierType,
)
from aihw_torch.errors import ShapeError
from aihw_torch.nn import AnalogConv1d, AnalogConv2d, AnalogConv3d

LAYERS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "1d": (AnalogConv1d, (3, 4, 3), {"stride": 2}, (5, 3, 12)),
    "2d": (AnalogConv2d, (3, 4, (3, 2)), {}, (4, 3, 8, 7)),
    "2d of one pixel": (AnalogConv2d, (3, 4, 1), {}, (4, 3, 8, 7)),
    "2d of one channel": (AnalogConv2d, (1, 4, 3), {"bias": False}, (4, 1, 8, 7)),
    "2d with pixels beyond the kernel": (AnalogConv2d, (2, 4, 3), {"stride": 3, "padding": 1}, (4, 2, 8, 9)),
    "2d dilated": (AnalogConv2d, (2, 4, 3), {"dilation": 2, "padding": 2, "padding_mode": "reflect"}, (2, 2, 8, 9)),
    "3d": (AnalogConv3d, (2, 4, 2), {"dilation": (1, 2, 1)}, (2, 2, 4, 5, 6)),
}


def config(**ranges: Any) -> InferenceRPUConfig:
    """Everything on; an input range of 1.2 that about a quarter of the inputs exceed."""
    rpu = InferenceRPUConfig()
    rpu.mapping.weight_scaling_omega, rpu.mapping.weight_scaling_columnwise = 1.0, True
    rpu.forward.noise_management, rpu.forward.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    rpu.forward.out_bound = 1.5  # that some outputs reach
    rpu.clip.type, rpu.clip.sigma = WeightClipType.LAYER_GAUSSIAN, 1.5
    rpu.modifier.type, rpu.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    given = rpu.pre_post.input_range
    given.enable, given.init_value, given.init_from_data, given.decay = True, 1.2, 0, 0.5
    given.input_min_percentage = 0.5
    for name, value in ranges.items():
        setattr(given, name, value)
    return rpu


def pair(name: str, **ranges: Any) -> tuple[Any, Any, torch.Tensor]:
    """A layer that reads images, its twin that cuts patches because a hook looks at them, and images."""
    make, arguments, options, shape = LAYERS[name]
    torch.manual_seed(4)
    layer = make(*arguments, rpu_config=config(**ranges), seed=9, **options)
    twin = copy.deepcopy(layer)
    twin.analog_module.register_forward_pre_hook(lambda tile, args: None)
    return layer, twin, torch.randn(shape)


def passes(layer: Any, x: torch.Tensor, wants_x: bool = True) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output, and the gradients of parameters and input."""
    x = x.clone().requires_grad_(wants_x)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(3)))
    return y.detach(), [p.grad for p in layer.parameters()] + ([x.grad] if wants_x else [])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("wants_x", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_patches(name: str, wants_x: bool, channels_last: bool) -> None:
    layer, twin, x = pair(name)
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    for _ in range(2):
        layer.zero_grad()
        twin.zero_grad()
        (y, found), (expected, gradients) = passes(layer, x, wants_x), passes(twin, x, wants_x)
        assert torch.equal(y, expected)
        for gradient, other in zip(found, gradients, strict=True):
            # The same up to 2000 terms in another order, each of magnitude 1 and rounded to 2^-24.
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)
    assert torch.equal(layer.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("name", ["2d", "2d with pixels beyond the kernel", "2d dilated"])
def test_the_decay_looks_at_every_patch(name: str) -> None:
    """Pixels count as often as they are used: only the one in the centre is clipped, which is in most patches."""
    _, _, x = pair(name)
    x = 0.1 * x.clamp(-1, 1)
    x[:, :, 4, 4] = 5.0
    shares = {wanted: [] for wanted in (0.0, 0.05, 0.1, 0.5, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99)}
    for wanted, found in shares.items():
        for layer in pair(name, input_min_percentage=wanted)[:2]:
            passes(layer, x)
            found.append(layer.analog_module.input_range.grad.item())
    assert all(a == pytest.approx(b, abs=1e-3) for a, b in shares.values())
    first, last = shares[0.0][0], shares[0.99][0]
    assert first == pytest.approx(last + 0.5 * 1.2, abs=1e-3)  # with and without the decay


def test_the_range_that_data_set_is_that_of_patches() -> None:
    layer, twin, x = pair("2d", init_from_data=2)
    for _ in range(3):
        assert torch.equal(layer(x), twin(x))
    assert torch.equal(layer.analog_module.input_range, twin.analog_module.input_range)
    assert layer.analog_module.input_range.item() != pytest.approx(1.2)


def test_programmed_weights_are_read_in_the_same_way() -> None:
    layer, twin, x = pair("2d")
    for each in (layer, twin):
        each.eval()
        each.drift_analog_weights(100.0)
    assert torch.equal(layer(x), twin(x))


def test_a_checkpoint_repeats_the_noise() -> None:
    layer, twin, x = pair("2d")
    x.requires_grad_()
    y = checkpoint(layer, x, use_reentrant=False)
    y.sum().backward()
    expected = twin(x)
    assert torch.equal(y, expected)
    expected.sum().backward()
    torch.testing.assert_close(layer.analog_module.weight.grad, twin.analog_module.weight.grad)


def test_no_patch_is_made() -> None:
    layer, twin, x = pair("2d")
    assert layer.analog_module._reads_images(x)
    assert not twin.analog_module._reads_images(x)


def test_no_images() -> None:
    layer, _, x = pair("2d")
    y, gradients = passes(layer, x[:0])
    assert y.shape == (0, 4, 6, 6)
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_the_default_type_of_torch_is_not_that_of_a_layer() -> None:
    layer, twin, x = pair("2d")
    expected, gradients = passes(twin, x)
    torch.set_default_dtype(torch.float64)
    try:
        d = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float32)
        x = x.clone().requires_grad_()
        y = layer(x)
        y.backward(d)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(y, expected)
    for gradient, other in zip([*(p.grad for p in layer.parameters()), x.grad], gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


def test_a_forward_of_another_library_sees_patches() -> None:
    layer, twin, x = pair("2d")
    tile, seen = layer.analog_module, []
    plain = tile.forward
    tile.forward = lambda rows: (seen.append(rows.shape), plain(rows))[1]
    assert torch.equal(layer(x), twin(x))
    assert seen == [(4, 6, 6, 18)]


def test_images_smaller_than_the_kernel() -> None:
    layer, _, _ = pair("2d")
    with pytest.raises(ShapeError, match="the padded image has 2 pixels in a dimension where the kernel spans 3"):
        layer(torch.randn(1, 3, 2, 7))
