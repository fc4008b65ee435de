"""Tensors of torch that go to the core through the C functions of DLPack: the bits and errors of every other way."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rpu_sim import Tile, _core, config
from rpu_sim.errors import BackendError, NonFiniteError, ShapeError

torch = pytest.importorskip("torch", reason="the tensors are of torch")
OUT, IN = 70, 90
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda x: x,
    "axes": lambda x: x.reshape(3, 1, 2, -1),
    "one sample": lambda x: x[4],
    "offset": lambda x: x[2:5],
    "needs a gradient": lambda x: x.clone().requires_grad_(),
    "transposed": lambda x: x.T.contiguous().T,
    "every second": lambda x: x[::2],
    "empty": lambda x: x[:0],
    "negated when read": torch._neg_view,
    "a parameter": torch.nn.Parameter,
    "nine axes": lambda x: x.reshape(*[1] * 7, 6, -1),
}


def batch(width: int, seed: int) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(6, width)).astype(np.float32))


def no_short_cut(*_: Any) -> None:
    return None


def test_the_short_cut_is_taken() -> None:
    if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        return  # an older torch: everything goes the long way, with the same results
    x, d = batch(IN, 0), batch(OUT, 1)
    tile = Tile(OUT, IN, like=x)
    tile.forward(x)  # the type of tensors is known from here on
    assert isinstance(tile._forward_tensor(x), torch.Tensor)
    assert tile.steps["forward"] == 2
    assert _core.rows_of_tensors(x, IN, d, OUT) is not None
    assert _core.rows_of_tensors(x, IN, torch._neg_view(d), OUT) is None
    for other in (x[:, 1:], x.double(), x.numpy(), torch._neg_view(x), torch.nn.Parameter(x), None):
        assert tile._forward_tensor(other) is None
    assert tile.steps["forward"] == 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_products(direction: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = LAYOUTS[layout](batch(IN if direction == "forward" else OUT, 1))
    short, long = Tile(OUT, IN, seed=3, like=x), Tile(OUT, IN, seed=3, like=x)
    results = [getattr(short, direction)(x) for _ in range(2)]
    assert short.steps[direction] == 2
    repeated = getattr(short, direction)(x, step=1)
    monkeypatch.setattr(long, f"_{direction}_tensor", no_short_cut)
    for result in results:
        expected = getattr(long, direction)(x)
        assert (type(result), result.shape) == (torch.Tensor, expected.shape)
        assert result.is_contiguous()
        assert not result.requires_grad
        np.testing.assert_array_equal(result.numpy().view(np.uint32), expected.numpy().view(np.uint32))
    assert torch.equal(repeated, results[1])
    far = (1 << 32) + 1  # counters wrap around
    assert torch.equal(getattr(short, direction)(x, step=np.int64(far)), getattr(long, direction)(x, step=far))
    assert torch.equal(getattr(short, direction)(x, step=far), repeated)
    assert short.steps == long.steps


@pytest.mark.parametrize("evaluate", [False, True])
def test_products_with_a_running_mean(evaluate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    io = config.IOParameters(noise_management=config.NoiseManagementType.AVERAGE_ABS_MAX)
    x = batch(IN, 1)
    short, long = (Tile(OUT, IN, config.SingleRPUConfig(forward=io), seed=3, like=x) for _ in range(2))
    monkeypatch.setattr(long, "_forward_tensor", no_short_cut)
    for step in (None, 7, None):
        assert torch.equal(
            short.forward(x, step=step, evaluate=evaluate), long.forward(x, step=step, evaluate=evaluate)
        )
    for name, value in long.state_dict().items():
        assert torch.equal(torch.as_tensor(short.state_dict()[name]), torch.as_tensor(value)), name


def test_results_own_their_memory() -> None:
    x = batch(IN, 2)
    tile = Tile(OUT, IN, like=x)
    first = tile.forward(x)
    kept = first.clone()
    later = [tile.forward(x) for _ in range(50)]
    assert len({result.data_ptr() for result in [first, *later]}) == 51
    del tile, x
    assert torch.equal(first, kept)
    first += 1.0
    assert torch.equal(first, kept + 1.0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "cell",
    [
        config.SingleRPUConfig(device=config.ConstantStepDevice()),
        config.SingleRPUConfig(device=config.SoftBoundsDevice(write_noise_std=1.0)),
        config.FloatingPointRPUConfig(),
        config.UnitCellRPUConfig(
            device=config.TransferCompound(unit_cell_devices=[config.ConstantStepDevice(), config.ConstantStepDevice()])
        ),
    ],
    ids=["pulsed", "write noise", "digital", "compound"],
)
def test_updates(cell: Any, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, d = (LAYOUTS[layout](batch(width, 4)) for width in (IN, OUT))
    short, long = Tile(OUT, IN, cell, seed=3, like=x), Tile(OUT, IN, cell, seed=3, like=x)
    version = short.weights._version
    for _ in range(2):
        short.update(x, d, 0.1)
    assert short.weights._version > version or layout == "empty"
    monkeypatch.setattr(_core, "rows_of_tensors", no_short_cut)
    for _ in range(2):
        long.update(x, d, 0.1)
    for name, value in long.state_dict().items():
        np.testing.assert_array_equal(np.asarray(short.state_dict()[name]), np.asarray(value), err_msg=name)


def test_errors() -> None:
    x, d = batch(IN, 5), batch(OUT, 6)
    tile = Tile(OUT, IN, config.SingleRPUConfig(device=config.ConstantStepDevice()), like=x)
    before = tile.state_dict()
    with pytest.raises(ShapeError, match="last dimension"):
        tile.forward(d)
    with pytest.raises(ShapeError, match="one d per x"):
        tile.update(x, d[:3], 0.1)
    with pytest.raises(ShapeError, match="one d per x"):
        tile.update(x.reshape(2, 3, -1), d.reshape(3, 2, -1), 0.1)
    x[3, 4] = float("nan")
    with pytest.raises(NonFiniteError, match="nothing was computed"):
        tile.forward(x)
    with pytest.raises(NonFiniteError, match="left unchanged"):
        tile.update(x, d, 0.1)
    for name, value in tile.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_transformed_tensors_have_no_memory() -> None:
    """Inside transforms of torch a tensor stands for others; they are refused as before, not read."""
    x = batch(IN, 7)
    tile = Tile(OUT, IN, like=x)
    with pytest.raises(Exception, match=r"(?i)storage|numpy|tensor"):
        torch.func.vmap(tile.forward)(x)
    assert tile.steps["forward"] == 0


def test_the_next_step_and_key_are_those_of_the_tile() -> None:
    """Also after what replaces the key, the counters or the weights."""
    x = batch(IN, 8)
    tile, other = Tile(OUT, IN, seed=1, like=x), Tile(OUT, IN, seed=2, like=x)
    for _ in range(3):
        other.forward(x)
    tile.forward(x)
    tile.load_state(other.state_dict())
    assert torch.equal(tile.forward(x), other.forward(x))
    tile.hold_weights_in(torch.empty(OUT, IN))
    tile.forward(x, step=17)
    assert torch.equal(tile.forward(x), other.forward(x))
    assert torch.equal(Tile.from_state(tile.state_dict()).backward(batch(OUT, 9)), other.backward(batch(OUT, 9)))
    assert tile.steps == other.steps | {"backward": 0}


class _FunctionsOfDlpack(ctypes.Structure):
    """The head of DLPackExchangeAPI, and its functions."""

    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("older", ctypes.c_void_p)]
    _fields_ += [(f"function_{i}", ctypes.c_void_p) for i in range(5)]


def test_other_versions_of_dlpack_are_refused() -> None:
    """So that `arrays` leaves such tensors to the long way; the type that is known stays known."""
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    older = _FunctionsOfDlpack(major=0)
    later = _FunctionsOfDlpack(major=2, older=ctypes.addressof(older))
    without_views = _FunctionsOfDlpack(major=1, minor=3)
    for functions in (later, without_views):
        capsule = new_capsule(ctypes.addressof(functions), b"dlpack_exchange_api", None)
        with pytest.raises(BackendError, match=r"DLPack 1\.3"):
            _core.name_tensors(torch.Tensor, capsule)
    x = batch(IN, 10)
    assert torch.equal(Tile(OUT, IN, like=x).forward(x), Tile(OUT, IN, like=x).forward(x.clone().requires_grad_()))
