"""The plugin interface, and what a user is told about a missing or unfit plugin, driver or GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exact import DEVICES, EMULATED, PLUGIN, assert_same_bits, batch, computing_on

import rpu_sim
from rpu_sim import Tile, _core, cuda
from rpu_sim import config as c
from rpu_sim.errors import BackendError, NonFiniteError

HERE = Path(__file__).parent
compiler = shutil.which(os.environ.get("CC", "cc"))
compiles = pytest.mark.skipif(compiler is None or os.name == "nt", reason="needs a C compiler like GCC")
with_kernels = pytest.mark.skipif(not EMULATED, reason="this build has no emulated kernels (RPU_EMULATED_CUDA=ON)")


def compiled(tmp_path: Path, *options: str) -> Path:
    library = tmp_path / "plugin.so"
    include = f"-I{HERE.parent / 'core'}"
    command = [str(compiler), "-std=c11", "-Wall", "-Werror", "-shared", "-fPIC", include, *options]
    subprocess.run([*command, str(HERE / "abi.c"), "-o", str(library)], check=True)
    return library


@compiles
def test_layout_of_version_1(tmp_path: Path) -> None:
    """The assertions of abi.c hold, in C; and the test can fail."""
    compiled(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        compiled(tmp_path, "-DRPU_C_API_H", "-include", "stdint.h")  # without the structs


@compiles
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "it has no function rpu_plugin; reinstall it"),
        (("-DPLUGIN_ABI=2",), "it does not have version 1 of the interface; install the version of rpu-sim itself"),
        (("-DPLUGIN_ABI=1",), "it has other operations than this rpu-sim; install the version of rpu-sim itself"),
    ],
)
def test_unfit_plugins_are_refused(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    found = cuda.examine(compiled(tmp_path, *options))
    assert found.library is None
    assert found.problem.endswith(reason)


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.so"
    nothing.write_text("not a library")
    if os.name == "nt":
        pytest.skip("there are no plugins for Windows")
    assert "cannot be used" in cuda.examine(nothing).problem


def test_no_plugin() -> None:
    assert cuda.examine(None).problem == 'the CUDA plugin is not installed: pip install "rpu-sim[cu13]"'


@with_kernels
def test_a_fitting_plugin() -> None:
    found = cuda.examine(PLUGIN)
    assert (found.library, found.problem) == (PLUGIN, "")
    assert [gpu.name for gpu in found.gpus] == ["emulated"] * 2


@with_kernels
def test_a_plugin_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "__version__", "9.9")
    problem = cuda.examine(PLUGIN).problem
    assert problem == (
        f'the CUDA plugin is of version {rpu_sim.__version__}, rpu-sim of 9.9: pip install "rpu-sim[cu13]==9.9"'
    )


@with_kernels
def test_no_gpu_and_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "plugin_devices", lambda path: [])
    assert "there is no NVIDIA GPU that this process may use" in cuda.examine(PLUGIN).problem

    def fails(path: str) -> None:
        raise BackendError("there is no NVIDIA driver; install one")

    monkeypatch.setattr(_core, "plugin_devices", fails)
    assert cuda.examine(PLUGIN).problem == "there is no NVIDIA driver; install one"


def test_the_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "state", lambda: cuda.examine(None))
    assert "tiles cannot be on a GPU: the CUDA plugin is not installed" in rpu_sim.doctor()
    gpu = cuda.Gpu("NVIDIA H200", (9, 0), 150 << 30)
    monkeypatch.setattr(cuda, "state", lambda: cuda.CudaState(Path("x.so"), "CUDA 13.0 for 9.0", (gpu,), ""))
    assert "gpu 0       NVIDIA H200, compute capability 9.0, 150.0 GiB" in rpu_sim.doctor()


def test_a_tile_on_a_gpu_without_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "state", lambda: cuda.examine(None))
    with pytest.raises(BackendError, match=r"^the CUDA plugin is not installed: pip install"):
        Tile(2, 3, device="cuda")


@with_kernels
def test_operations_run_elsewhere() -> None:
    """The emulated kernels are what computes, not the CPU: they leave out samples that the CPU refuses as a whole."""
    x, d = batch((5, 8), 3, seed=0)
    tiles = [Tile(5, 8, c.SingleRPUConfig(device=DEVICES["soft"]), seed=2) for _ in range(2)]
    tiles[0].update(np.delete(x, 1, 0), np.delete(d, 1, 0), 0.0)
    x[1, 2] = np.nan
    before = tiles[0].get_weights()
    with pytest.raises(NonFiniteError):
        tiles[0].update(x, d, 0.1)
    assert_same_bits(tiles[0].weights, before, "the CPU changes nothing")
    with computing_on("emulated-cuda"), pytest.raises(NonFiniteError, match="its samples were left out"):
        tiles[1].update(x, d, 0.1)
    assert (tiles[1].weights != before).any()
    assert np.isfinite(tiles[1].weights).all()


@with_kernels
@pytest.mark.parametrize("shape", [(70, 130), (530, 60), (17, 1029)])
@pytest.mark.parametrize("samples", [1, 16, 40])
def test_products_of_every_class_of_shapes(shape: tuple[int, int], samples: int) -> None:
    """Products of one and of many chains, of whole and of partial blocks and chunks, equal those of the CPU."""
    x, d = batch(shape, samples, seed=1)
    results = []
    for _ in range(2):
        tile = Tile(*shape, seed=4)
        tile.set_weights(np.linspace(-0.5, 0.5, shape[0] * shape[1], dtype=np.float32).reshape(shape))
        if results:
            with computing_on("emulated-cuda"):
                results.append((tile.forward(x), tile.backward(d)))
        else:
            results.append((tile.forward(x), tile.backward(d)))
    for on_cpu, elsewhere, name in zip(*results, ("forward", "backward"), strict=True):
        assert_same_bits(elsewhere, on_cpu, name)


@with_kernels
@pytest.mark.parametrize("samples", [3, 70])
def test_rank_updates(samples: int) -> None:
    x, d = batch((70, 130), samples, seed=1)
    tiles = [Tile(70, 130, c.FloatingPointRPUConfig(), seed=4) for _ in range(2)]
    tiles[0].update(x, d, 0.1)
    with computing_on("emulated-cuda"):
        tiles[1].update(x, d, 0.1)
    assert_same_bits(tiles[1].weights, tiles[0].weights, "weights")
