"""Memory on a GPU, from torch or from the plugin, and when it is given back."""

from __future__ import annotations

import sys
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from gpu_tiles import needs_kernels

from rpu_sim import _core, gpu

pytestmark = needs_kernels


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
