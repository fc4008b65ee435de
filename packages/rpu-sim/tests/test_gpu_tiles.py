"""Tiles whose state is on a GPU: the bits of the CPU, moves, and what a user is told.

Without a GPU its kernels run on the host, on memory that only they may touch, so that host logic which reads what lies
on the GPU ends in a segmentation fault.
"""

from __future__ import annotations

import copy
import ctypes
import pickle
import sys
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from exact import DEVICES, EMULATED, GPU, PLUGIN, UPDATES, assert_same_bits
from test_exact_mvm import IO
from unit_cells import WRITTEN, cells

from rpu_sim import (
    Tile,
    WeightClip,
    _core,
    clip_weights,
    cuda,
    gpu,
    modify_weights,
    remap_weights,
    together,
)
from rpu_sim import config as c
from rpu_sim.errors import BackendError, DeviceError, DtypeError, NonFiniteError, ShapeError

OUT, IN, BATCH = 9, 21, 6
STORED = {
    "written": WRITTEN,
    "drifting": c.SoftBoundsDevice(
        drift=c.DriftParameter(nu=0.1, nu_dtod=0.3, nu_std=0.2), diffusion=0.01, lifetime=9.0
    ),
    "both": c.SoftBoundsDevice(write_noise_std=0.2, drift=c.DriftParameter(nu=0.05), diffusion=0.02),
    "counted": c.ConstantStepDevice(count_pulses=True, lifetime=20.0),
    "ideal": c.IdealDevice(diffusion=0.02, lifetime=10.0),
}

pytestmark = pytest.mark.skipif(not (EMULATED or GPU), reason="there is no GPU, and this build has no emulated kernels")


@pytest.fixture(params=[*EMULATED, *GPU])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A GPU: the second of the emulated ones, or the first of this machine."""
    if request.param in EMULATED:
        found = cuda.examine(PLUGIN)
        monkeypatch.setattr(cuda, "state", lambda: found)
        yield "cuda:1"
    else:
        yield "cuda:0"


def config_of(device: Any, **fields: Any) -> Any:
    kind = c.UnitCellRPUConfig if isinstance(device, c.UnitCell) else c.SingleRPUConfig
    kind = c.DigitalRankUpdateRPUConfig if isinstance(device, c.DigitalRankUpdateCell) else kind
    return kind(device=device, **fields)


def pair(device: str, config: Any, seed: int = 3) -> tuple[Tile, Tile]:
    return Tile(OUT, IN, config, seed=seed), Tile(OUT, IN, config, seed=seed, device=device)


def samples(n: int = BATCH, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, d = rng.standard_normal((n, IN)).astype(np.float32), rng.standard_normal((n, OUT)).astype(np.float32)
    x[0, :3] = 0.0
    return 0.5 * x, 0.2 * d


def assert_same_state(tiles: tuple[Tile, Tile], when: str) -> None:
    states = [tile.state_dict() for tile in tiles]
    assert states[0].keys() == states[1].keys()
    for name, expected in states[0].items():
        assert states[1][name].tobytes() == expected.tobytes(), f"{name} differs after {when}"


def assert_same_life(device: str, config: Any) -> None:
    """Everything that training does gives the same state and the same outputs."""
    tiles = pair(device, config)
    put = gpu.space(device).put
    assert tiles[1].device == device
    assert_same_state(tiles, "construction")
    for step in range(4):
        x, d = samples(seed=step)
        for name, values in (("forward", x), ("backward", d)):
            y = [getattr(tiles[0], name)(values), getattr(tiles[1], name)(put(values))]
            assert_same_bits(y[1].numpy(), y[0], name)
        tiles[0].update(x, d, 0.05)
        tiles[1].update(put(x), put(d), 0.05)
        assert_same_state(tiles, f"update {step}")
        assert tiles[0].pulse_counts == tiles[1].pulse_counts
        for tile in tiles:
            tile.post_update_step()
        assert_same_state(tiles, "the time step")
    for tile in tiles:
        tile.decay(0.5)
        tile.diffuse()
        tile.drift(3.0)
        if not isinstance(config, c.FloatingPointRPUConfig):
            tile.reset(3, 7, 0.8)
    assert_same_state(tiles, "decay, diffusion, drift and reset")
    weights = np.linspace(-0.4, 0.4, OUT * IN, dtype=np.float32).reshape(OUT, IN)
    tiles[0].set_weights(weights)
    tiles[1].set_weights(put(weights))
    assert_same_state(tiles, "set_weights")
    parameters = tiles[0].hidden_parameters()
    for name, values in tiles[1].hidden_parameters().items():
        assert_same_bits(values.numpy(), parameters[name], name)
    for tile in tiles:
        tile.set_hidden_parameters(parameters)
    assert_same_state(tiles, "set_hidden_parameters")
    tiles[1].synchronize()


@pytest.mark.parametrize("name", DEVICES)
def test_devices(device: str, name: str) -> None:
    assert_same_life(device, config_of(DEVICES[name]))


@pytest.mark.parametrize("name", UPDATES)
def test_updates(device: str, name: str) -> None:
    assert_same_life(device, config_of(DEVICES["soft"], update=UPDATES[name]))


@pytest.mark.parametrize("kind", ["MEAN_FIELD", "NONE_WITH_DEVICE", "NONE"])
def test_updates_without_pulses(device: str, kind: str) -> None:
    assert_same_life(device, config_of(WRITTEN, update=c.UpdateParameters(pulse_type=c.PulseType[kind])))


@pytest.mark.parametrize("name", STORED)
def test_stored_weights(device: str, name: str) -> None:
    assert_same_life(device, config_of(STORED[name]))


def test_floating_point(device: str) -> None:
    assert_same_life(device, c.FloatingPointRPUConfig())


@pytest.mark.parametrize("name", cells())
def test_cells(device: str, name: str) -> None:
    assert_same_life(device, config_of(cells()[name]))


@pytest.mark.parametrize("name", IO)
def test_periphery(device: str, name: str) -> None:
    assert_same_life(device, c.SingleRPUConfig(forward=IO[name], backward=IO[name]))


def test_more_rows_and_samples_than_threads_of_a_block(device: str) -> None:
    """One block goes over them all, in the order of the CPU where it matters."""
    rows, batch = 700, 600
    config = config_of(DEVICES["soft"], forward=IO["average"], backward=IO["nonlinearity-unbounded"])
    tiles = Tile(rows, 6, config, seed=3), Tile(rows, 6, config, seed=3, device=device)
    rng, put = np.random.default_rng(0), gpu.space(device).put
    x, d = (rng.standard_normal((batch, n)).astype(np.float32) for n in (6, rows))
    for direction, values in (("forward", x), ("backward", d)):
        y = [getattr(tile, direction)(v) for tile, v in zip(tiles, (values, put(values)), strict=True)]
        assert_same_bits(y[1].numpy(), y[0], direction)
    tiles[0].update(x, d, 0.05)
    tiles[1].update(put(x), put(d), 0.05)
    assert_same_state(tiles, "update")
    weights = rng.standard_normal((rows, 6)).astype(np.float32)
    for kind in ("LAYER_GAUSSIAN", "AVERAGE_CHANNEL_MAX"):
        clip = c.WeightClipParameter(type=c.WeightClipType[kind], sigma=1.5)
        assert_same_bits(clip_weights(put(weights), clip).numpy(), clip_weights(weights, clip), kind)
    for kind in ("LAYERWISE_SYMMETRIC", "CHANNELWISE_SYMMETRIC"):
        remap = c.WeightRemapParameter(type=c.WeightRemapType[kind], max_scale_range=1.5)
        scales = (0.5 + rng.random(rows)).astype(np.float32)
        on_gpu = put(scales)
        found = remap_weights(put(weights), on_gpu, remap)
        expected = remap_weights(weights, scales, remap)
        for a, b in zip(found, expected, strict=True):
            assert_same_bits(a.numpy(), b, kind)
    modifier = c.WeightModifierParameter(type=c.WeightModifierType.DISCRETIZE, res=0.1, rel_to_actual_wmax=True)
    copies = [modify_weights(w, modifier, seed=4) for w in (weights, put(weights))]
    assert_same_bits(copies[1].numpy(), copies[0], "modifier")


# -- several tiles at once ---------------------------------------------------------------------------------------------


GRID = [(OUT, IN), (OUT, IN), (4, 70), (130, 5)]


def grid_samples(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    xs, ds = ([0.3 * rng.standard_normal((BATCH, shape[side])).astype(np.float32) for shape in GRID] for side in (1, 0))
    return xs, ds


@pytest.mark.parametrize("name", ["soft", "pow-reference", "constant-everything", "one-sided", "chopped"])
def test_tiles_together(device: str, name: str) -> None:
    config = config_of((DEVICES | cells())[name], forward=IO["everything"], backward=IO["bound"])
    tiles = [[Tile(*shape, config, seed=i, device=at) for i, shape in enumerate(GRID)] for at in ("cpu", device)]
    put = gpu.space(device).put
    for step in range(3):
        xs, ds = grid_samples(step)
        for call, values in ((together.forward, xs), (together.backward, ds)):
            for y, expected in zip(call(tiles[1], [put(v) for v in values]), call(tiles[0], values), strict=True):
                assert_same_bits(y.numpy(), expected, call.__name__)
        together.update(tiles[0], xs, ds, [0.05] * 4)
        together.update(tiles[1], [put(x) for x in xs], [put(d) for d in ds], [0.05] * 4)
        for one, other in zip(*tiles, strict=True):
            assert_same_state((one, other), f"update {step}")
    tiles[1][0].synchronize()


def test_tiles_on_two_devices(device: str) -> None:
    tiles = [Tile(OUT, IN, device=at) for at in ("cpu", device)]
    with pytest.raises(DeviceError, match=f"^the tiles are on cpu and {device}; move them to one device$"):
        together.forward(tiles, [samples()[0]] * 2)


def test_tiles_share_launches(device: str) -> None:
    """Six tiles have the launches of one."""
    if not EMULATED or device != "cuda:1":
        pytest.skip("only the emulated plugin counts launches")
    launches = ctypes.c_int64.in_dll(ctypes.CDLL(str(PLUGIN)), "rpu_emulated_launches")
    config = config_of(DEVICES["soft"], forward=IO["everything"])
    put, (x, d) = gpu.space(device).put, samples()
    x, d = put(x), put(d)
    needed = []
    for n in (1, 6):
        tiles = [Tile(OUT, IN, config, seed=i, device=device) for i in range(n)]
        for call in (
            lambda tiles: together.forward(tiles, [x] * len(tiles)),
            lambda tiles: together.backward(tiles, [d] * len(tiles)),
            lambda tiles: together.update(tiles, [x] * len(tiles), [d] * len(tiles), [0.1] * len(tiles)),
        ):
            before = launches.value
            call(tiles)
            needed.append(launches.value - before)
    assert needed[:3] == needed[3:]
    assert min(needed) > 3


# -- moves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cells())
def test_moves_change_nothing(device: str, name: str) -> None:
    """A tile that moves back and forth during training ends like one that stays."""
    config = config_of(cells()[name])
    tiles = Tile(OUT, IN, config, seed=3), Tile(OUT, IN, config, seed=3)
    put = gpu.space(device).put
    for step in range(4):
        x, d = samples(seed=step)
        tiles[0].update(x, d, 0.05)
        if step % 2 == 0:
            assert tiles[1].to(device) is tiles[1]
            tiles[1].update(put(x), put(d), 0.05)
        else:
            tiles[1].cpu().update(x, d, 0.05)
        assert_same_state(tiles, f"update {step}")
    assert type(tiles[1].weights) is np.ndarray


class FullMemory:
    """A GPU whose memory is full after some more arrays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, arrays: int) -> None:
        self.left, empty = arrays, gpu.GpuSpace.empty

        def limited(space: gpu.GpuSpace, *shape_and_type: Any) -> gpu.GpuArray:
            if self.left == 0:
                raise BackendError("the GPU has no memory left; use smaller arrays or batches")
            self.left -= 1
            return empty(space, *shape_and_type)

        monkeypatch.setattr(gpu.GpuSpace, "empty", limited)


MOVED = {**STORED, **cells()}


@pytest.mark.parametrize("name", MOVED)
def test_a_move_happens_as_a_whole_or_not_at_all(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever array finds no memory, the tile stays where it is and goes on like one that never tried."""
    tiles = [Tile(OUT, IN, config_of(MOVED[name], forward=IO["everything"]), seed=3) for _ in range(2)]
    for tile in tiles:
        tile.update(*samples(), 0.05)
    weights = tiles[1].weights
    arrays = 0
    while True:
        with monkeypatch.context() as patch:
            memory = FullMemory(patch, arrays)
            try:
                tiles[1].to(device)
                break
            except BackendError:
                assert memory.left == 0
        assert tiles[1].device == "cpu"
        assert tiles[1].weights is weights
        assert_same_state((tiles[0], tiles[1]), f"a move that ends at array {arrays}")
        for tile in tiles:
            tile.update(*samples(seed=arrays + 1), 0.05)
            tile.post_update_step()
        assert_same_bits(tiles[1].forward(samples()[0]), tiles[0].forward(samples()[0]), "output")
        arrays += 1
    assert arrays > 2
    assert_same_state((tiles[0], tiles[1]), "the move")
    if device == "cuda:1":  # from one GPU to the other, which is full at once
        with monkeypatch.context() as patch:
            FullMemory(patch, 1)
            with pytest.raises(BackendError):
                tiles[1].to("cuda:0")
        assert tiles[1].device == device
        assert_same_state((tiles[0], tiles[1]), "the second move")


def test_copies_and_checkpoints(device: str) -> None:
    tile = Tile(OUT, IN, config_of(cells()["dynamic"]), seed=3, device=device)
    put = gpu.space(device).put
    x, d = samples()
    tile.update(put(x), put(d), 0.05)
    restored = Tile(OUT, IN, tile.rpu_config, seed=8, device=device)
    restored.load_state(tile.state_dict())
    others = [
        copy.deepcopy(tile),
        pickle.loads(pickle.dumps(tile)),
        Tile.from_state(tile.state_dict(), device=device),
        restored,
    ]
    tile.update(put(x), put(d), 0.05)
    for other in others:
        assert other.device == device
        other.update(put(x), put(d), 0.05)
        assert_same_state((tile, other), "a copy")
    on_host = Tile.from_state(tile.state_dict())
    assert on_host.device == "cpu"
    assert_same_state((on_host, tile), "a move by state")


def test_weights_stay_in_their_array(device: str) -> None:
    """What is done on the host for a while comes back to the array that others hold."""
    tiles = pair(device, config_of(cells()["vector-all"]))
    weights = tiles[1].weights
    for tile in tiles:
        tile.set_weights(np.full((OUT, IN), 0.1, np.float32))
        tile.reconfigure(update=c.UpdateParameters(desired_bl=5))
    assert tiles[1].weights is weights
    assert_same_bits(weights.numpy(), tiles[0].weights, "weights")
    assert_same_state(tiles, "reconfigure")


def test_programming(device: str) -> None:
    tiles = pair(device, config_of(DEVICES["constant"]))
    results = [tile.program_weights(np.full((OUT, IN), 0.05, np.float32), max_iter=20) for tile in tiles]
    assert results[0] == results[1]
    estimates = [tile.read_weights() for tile in tiles]
    assert_same_bits(estimates[1].numpy(), estimates[0], "estimate")
    assert_same_state(tiles, "programming")


def test_windows_are_gathered_on_the_gpu(device: str) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    tiles = [Tile(4, 12, seed=3), Tile(4, 12, seed=3, device=device)]
    space = gpu.space(device)
    shape, strides = (
        (2, 8, 7, 3, 2, 2),
        (216, 8, 1, 72, 8, 1),
    )  # [image, row, column, channel, kernel row, kernel column]
    windows = np.lib.stride_tricks.as_strided(images, shape, [4 * n for n in strides])
    d = np.random.default_rng(1).standard_normal((2, 8, 7, 4)).astype(np.float32)

    class Windows:
        """A strided view, as torch has."""

        ndim, dtype = len(shape), np.dtype(np.float32)

        def __init__(self, held: gpu.GpuArray) -> None:
            self.held, self.shape = held, shape

        def __dlpack__(self, **options: Any) -> Any:
            view = gpu._core.gpu_view(
                self.held, self.held._address, *space.dlpack, list(shape), "float32", list(strides)
            )
            return view.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return space.dlpack

    tiles[0].update(windows, d, 0.1)
    tiles[1].update(Windows(space.put(images)), space.put(d), 0.1)
    assert_same_bits(tiles[1].weights.numpy(), tiles[0].weights, "weights")


# -- errors ------------------------------------------------------------------------------------------------------------


def test_arrays_elsewhere(device: str) -> None:
    tile = Tile(OUT, IN, device=device)
    put = gpu.space(device).put
    x, d = samples()
    with pytest.raises(DeviceError, match=rf"^x is on cpu but this tile is on {device}; move one of them$"):
        tile.forward(x)
    with pytest.raises(DeviceError, match=r"^d is on cpu"):
        tile.update(put(x), d, 0.1)
    with pytest.raises(DeviceError, match=r"^x cannot be read on the CPU"):
        Tile(OUT, IN).forward(put(x))
    if device == "cuda:1":
        with pytest.raises(DeviceError, match=r"^x is on cuda:0 but this tile is on cuda:1"):
            tile.forward(gpu.space("cuda:0").put(x))
    with pytest.raises(DeviceError, match=r"copy it to the host with its method numpy\(\)$"):
        np.asarray(tile.weights)
    with pytest.raises(DeviceError, match="only weights on the CPU can be held elsewhere"):
        tile.hold_weights_in(np.empty((OUT, IN), np.float32))


def test_shapes_and_types(device: str) -> None:
    tile = Tile(OUT, IN, device=device)
    put = gpu.space(device).put
    x, d = samples()
    with pytest.raises(ShapeError, match=r"x has shape \(6, 9\) but its last dimension must be 21"):
        tile.forward(put(d))
    with pytest.raises(ShapeError, match="give one d per x"):
        tile.update(put(x[:2]), put(d), 0.1)
    with pytest.raises(DtypeError, match="x has dtype int32 but tiles compute in float32"):
        tile.forward(gpu.space(device).empty((2, IN), np.int32))
    y = tile.forward(put(x.reshape(2, 3, IN)))
    assert y.shape == (2, 3, OUT)


def test_unknown_devices(device: str) -> None:
    with pytest.raises(BackendError, match="there is no GPU number 99"):
        Tile(OUT, IN).to("cuda:99")
    with pytest.raises(BackendError, match="'tpu' is no device"):
        Tile(OUT, IN, device="tpu")


def test_inputs_that_are_not_finite(device: str) -> None:
    """Nobody waits to find them: such samples do nothing, and the next `synchronize` tells."""
    tiles = pair(device, config_of(DEVICES["soft"]))
    put = gpu.space(device).put
    x, d = samples()
    broken = x.copy()
    broken[2, 1] = np.inf
    tiles[1].synchronize()
    y = tiles[1].forward(put(broken)).numpy()
    assert np.isnan(y[2]).all()
    assert np.isfinite(np.delete(y, 2, 0)).all()
    with pytest.raises(NonFiniteError, match="contained NaN or infinity"):
        tiles[1].synchronize()
    tiles[1].synchronize()
    tiles[1].update(put(broken), put(d), 0.05)
    assert np.isfinite(tiles[1].weights.numpy()).all()
    with pytest.raises(NonFiniteError):
        tiles[1].synchronize()


class FakeTorch:
    """What a runtime needs of torch with CUDA: memory, and the current stream."""

    def __init__(self) -> None:
        self.current = 7
        self.recorded: list[int] = []
        self.memory: list[weakref.ref[Any]] = []
        self.cuda = SimpleNamespace(is_initialized=lambda: True, current_stream=self._stream)
        self.uint8 = None

    def _stream(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(cuda_stream=self.current)

    def empty(self, n_bytes: int, **_: Any) -> Any:
        memory = FakeMemory(self.recorded)
        self.memory.append(weakref.ref(memory))
        return memory


class FakeMemory:
    """A tensor."""

    def __init__(self, recorded: list[int]) -> None:
        self.recorded = recorded

    def data_ptr(self) -> int:
        return 4096

    def record_stream(self, stream: Any) -> None:
        self.recorded.append(stream.cuda_stream)


def test_torch_gets_its_memory_back_when_the_modules_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of a script, whose tiles go after `sys.modules` was emptied."""
    torch = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    runtime = gpu.Runtime(0)
    address = runtime.allocate(8, runtime.stream())
    monkeypatch.delitem(sys.modules, "torch")
    assert torch.memory[0]() is not None
    runtime.release(address, True)
    assert address == 4096
    assert torch.memory[0]() is None


def test_memory_is_kept_for_the_streams_that_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What outlasts a call may be in use on other streams than that it was taken on."""
    torch = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    runtime = gpu.Runtime(0)
    address = runtime.allocate(8, runtime.stream())
    for torch.current in (9, 11, 9):
        runtime.stream()
    runtime.release(address, False)
    assert torch.recorded == []
    runtime.release(runtime.allocate(8, runtime.stream()), True)
    assert torch.recorded == [7, 11]


def test_memory_of_both_worlds_is_that_of_its_gpu(device: str) -> None:
    """CuPy and CUDA call it managed; DLPack has a type of its own for it."""
    array = SimpleNamespace(__dlpack__=None, __dlpack_device__=lambda: (13, 0), device="cuda:0")
    assert gpu.device_of(array) == "cuda:0"
    assert gpu._dlpack_device(array) == (2, 0)


@pytest.mark.parametrize("kind", ["NONE", "FIXED_VALUE", "LAYER_GAUSSIAN", "AVERAGE_CHANNEL_MAX"])
def test_whether_weights_are_clipped(device: str, kind: str) -> None:
    put = gpu.space(device).put
    clip = WeightClip(c.WeightClipParameter(type=c.WeightClipType[kind], fixed_value=2.5, sigma=2.5))
    weights = np.random.default_rng(0).standard_normal((OUT, IN)).astype(np.float32)
    answers = []
    for factor in (1.0, 3.0):
        answers.append(clip.leaves(weights * np.float32(factor)))
        assert clip.leaves(put(weights * np.float32(factor))) is answers[-1]
    assert kind == "NONE" or not all(answers)


def test_memory_that_an_error_frees_is_given_back(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = gpu.space(device)
    assert isinstance(where, gpu.GpuSpace)
    given_back: list[int] = []
    monkeypatch.setattr(gpu.Runtime, "allocate", lambda *_: 4096)
    monkeypatch.setattr(gpu.Runtime, "release", lambda _, address, lasting: given_back.append(address))
    with pytest.raises(ZeroDivisionError):
        [_core.GpuMemory(*where.dlpack, 8), 1 / 0]
    assert given_back == [4096]


def test_memory_that_cannot_be_given_back_ends_with_the_process(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = gpu.space(device)
    assert isinstance(where, gpu.GpuSpace)

    def ended(*_: Any) -> None:
        raise AttributeError("the interpreter is ending")

    monkeypatch.setattr(gpu.Runtime, "allocate", lambda *_: 4096)
    monkeypatch.setattr(gpu.Runtime, "release", ended)
    memory = _core.GpuMemory(*where.dlpack, 8)
    assert memory.address == 4096
    del memory
