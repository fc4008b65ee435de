"""Threads, forks, floating-point modes, frameworks, memory, and what the compiled library exports."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from exact import assert_same_bits, batch

import rpu_sim
from rpu_sim import Tile, _core, backends
from rpu_sim import config as c


def trained(seed: int = 1, shape: tuple[int, int] = (200, 300)) -> np.ndarray:
    tile = Tile(*shape, c.SingleRPUConfig(device=c.SoftBoundsDevice()), seed=seed)
    x, d = batch(shape, 16, seed=0)
    tile.forward(x)
    tile.update(x, d, 0.05)
    return tile.get_weights()


FORK = """
import ctypes, os, warnings
import numpy as np
from rpu_sim import Tile, set_num_threads
from rpu_sim.backends import use_openmp
from rpu_sim.config import SingleRPUConfig, SoftBoundsDevice

warnings.simplefilter("ignore", DeprecationWarning)  # Python warns about forks of processes with threads

def trained():
    tile = Tile(200, 300, SingleRPUConfig(device=SoftBoundsDevice()), seed=1)
    x, d = np.full((16, 300), 0.3, np.float32), np.full((16, 200), -0.2, np.float32)
    tile.forward(x)
    tile.update(x, d, 0.05)
    return tile.get_weights().tobytes()

set_num_threads(2)
expected = trained()
if {openmp!r}:
    assert use_openmp(ctypes.CDLL({openmp!r}))
    assert trained() == expected, "on the threads of OpenMP"
child = os.fork()
if child == 0:
    os._exit(0 if trained() == expected else 1)
assert os.waitpid(child, 0)[1] == 0, "the child"
assert trained() == expected, "the parent"
"""


OPENMP = ctypes.util.find_library("gomp") or ctypes.util.find_library("omp")
needs_openmp = pytest.mark.skipif(OPENMP is None, reason="this machine has no OpenMP library")
POOLS = [pytest.param(None, id="own"), pytest.param(OPENMP, id="openmp", marks=needs_openmp)]


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Lets two threads of the library, or of OpenMP, compute."""
    before = backends.get_num_threads()
    backends.set_num_threads(2)
    assert backends.use_openmp(None if request.param is None else ctypes.CDLL(request.param)) is bool(request.param)
    yield request.param
    backends.use_openmp(None)
    backends.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("openmp", POOLS)
def test_fork_after_use(openmp: str | None) -> None:
    """A child has no worker threads; it computes alone and gets the same bits."""
    script = FORK.replace("{openmp!r}", repr(openmp))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


BUSY_FORK = """
import os, signal, threading, warnings
import numpy as np
from rpu_sim import Tile, set_num_threads
from rpu_sim.backends import use_openmp

warnings.simplefilter("ignore", DeprecationWarning)
set_num_threads(2)
busy, x = True, np.full((64, 300), 0.3, np.float32)

def compute():
    tile = Tile(300, 300)
    while busy:
        tile.forward(x)

thread = threading.Thread(target=compute)
thread.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends a child that hangs
        use_openmp(None)
        os._exit(0)
    codes.append(os.waitpid(child, 0)[1])
busy = False
thread.join()
assert codes == [0] * 10, codes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_fork_while_another_thread_computes() -> None:
    """The lock that the other thread holds stays locked in the child, which must not wait for it."""
    subprocess.run([sys.executable, "-c", BUSY_FORK], check=True, timeout=150)


def test_a_library_without_openmp_is_not_used() -> None:
    assert not backends.use_openmp(ctypes.CDLL(_core.__file__))


def test_python_threads_share_the_pool(pool: str | None) -> None:
    """Concurrent callers do not disturb each other."""
    expected = [trained(seed) for seed in range(4)]
    results: dict[int, np.ndarray] = {}
    workers = [threading.Thread(target=lambda s=s: results.__setitem__(s, trained(s))) for s in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for seed in range(4):
        assert_same_bits(results[seed], expected[seed], f"seed {seed}")


def test_flush_to_zero_of_the_caller_does_not_matter() -> None:
    torch = pytest.importorskip("torch", reason="only torch sets the mode from Python")
    device = c.ConstantStepDevice(dw_min=1e-41, dw_min_dtod=0.0, up_down_dtod=0.0, dw_min_std=0.0)
    x, d = np.ones((1, 40), np.float32), -np.ones((1, 3), np.float32)

    def run() -> np.ndarray:
        tile = Tile(3, 40, c.SingleRPUConfig(device=device), seed=1)
        tile.set_weights(np.zeros((3, 40), np.float32))
        tile.update(x, d, 1e-40)
        return tile.get_weights()

    expected = run()
    assert (expected > 0).any(), "the steps are denormal numbers"
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormal numbers")
    try:
        assert_same_bits(run(), expected, "weights")
    finally:
        torch.set_flush_denormal(False)


def test_torch_tensors_in_and_out() -> None:
    torch = pytest.importorskip("torch", reason="the test of the torch edge needs torch")
    x, d = batch((5, 8), 3, seed=0)
    plain, tensors = Tile(5, 8, seed=2), Tile(5, 8, seed=2, like=torch.zeros(1))
    assert isinstance(tensors.weights, torch.Tensor)
    version = tensors.weights._version
    y = tensors.forward(torch.from_numpy(x).requires_grad_())
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad
    assert_same_bits(y.numpy(), plain.forward(x), "y")
    tensors.update(torch.from_numpy(x), torch.from_numpy(d), 0.1)
    plain.update(x, d, 0.1)
    assert_same_bits(tensors.weights.numpy(), plain.weights, "weights")
    assert tensors.weights._version > version, "autograd hears of the change"
    restored = Tile.from_state(tensors.state_dict())
    assert isinstance(restored.weights, torch.Tensor)


def test_jax_arrays_in_and_out() -> None:
    jnp = pytest.importorskip("jax.numpy", reason="the test of the JAX edge needs jax")
    x, d = batch((5, 8), 3, seed=0)
    plain, tile = Tile(5, 8, seed=2), Tile(5, 8, seed=2, like=jnp.zeros(1))
    y = tile.forward(jnp.asarray(x))
    assert type(y).__module__.startswith("jax")
    assert_same_bits(np.asarray(y), plain.forward(x), "y")
    tile.update(jnp.asarray(x), jnp.asarray(d), 0.1)
    plain.update(x, d, 0.1)
    assert_same_bits(tile.weights, plain.weights, "weights")


def test_any_dlpack_producer() -> None:
    class Producer:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: object) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    x, _ = batch((5, 8), 3, seed=0)
    assert_same_bits(Tile(5, 8).forward(Producer(x)), Tile(5, 8).forward(x), "y")


def test_environment_chooses_level_and_threads() -> None:
    program = "import rpu_sim; print(rpu_sim.backends.isa(), rpu_sim.get_num_threads())"
    level = backends.isa_levels()[0]
    env = {**os.environ, "RPU_ISA": level, "RPU_NUM_THREADS": "3"}
    result = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [level, "3"]
    for name, value, message in (("RPU_ISA", "v9", "choose one of"), ("RPU_NUM_THREADS", "two", "whole number")):
        bad = subprocess.run([sys.executable, "-c", program], env={**env, name: value}, capture_output=True, text=True)
        assert bad.returncode != 0
        assert message in bad.stderr


def test_doctor() -> None:
    result = subprocess.run([sys.executable, "-m", "rpu_sim", "doctor"], capture_output=True, text=True, check=True)
    assert rpu_sim.__version__ in result.stdout
    assert backends.isa_levels()[-1] in result.stdout


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm of binutils")
def test_per_level_code_exports_no_weak_symbols() -> None:
    """Otherwise the linker may pick the code of one level for all, and old CPUs crash."""
    library = Path(rpu_sim._core.__file__)
    symbols = subprocess.run(["nm", "-C", str(library)], capture_output=True, text=True, check=True).stdout
    if "rpu::" not in symbols:
        pytest.skip("the library is stripped; `nox -s wheels` checks the objects instead")
    weak = [line for line in symbols.splitlines() if "rpu::isa_" in line and line.split()[-2:][0] in ("W", "V", "u")]
    kinds = {line.split(maxsplit=2)[1] for line in symbols.splitlines() if "rpu::isa_" in line}
    assert not weak
    assert kinds <= {"t", "T", "r", "b", "d"}, kinds


def test_memory_of_a_tile() -> None:
    """A four-parameter device stores the weight and its four parameters; everything else is shared."""
    tile = Tile(64, 128, c.SingleRPUConfig(device=c.SoftBoundsDevice()))
    floats = sum(v.size for k, v in tile.state_dict().items() if k == "weight" or k.startswith("cell."))
    assert floats == 5 * 64 * 128 + 3
