"""Data-parallel training of two processes (gloo) is training on the joined batch."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import data_parallel
import pytest
import torch


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Give what the two processes have in the end."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = [folder / f"{rank}.pt" for rank in range(2)]
    commands = [
        [sys.executable, data_parallel.__file__, str(rank), "2", str(port), str(files[rank])] for rank in range(2)
    ]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return [torch.load(file, weights_only=True) for file in files]


@pytest.fixture(scope="module")
def one_process():
    torch.set_num_threads(1)
    return data_parallel.results(0, 1)


@pytest.mark.parametrize("rank", [0, 1])
def test_pulsed_tiles_have_the_bits_of_one_process(rank, two_processes, one_process):
    """Weights, devices, counters: noise of the forward passes, pulses, clipping and two passes per step included."""
    torch.testing.assert_close(two_processes[rank]["pulsed"], one_process["pulsed"], rtol=0, atol=0)


@pytest.mark.parametrize("rank", [0, 1])
def test_digital_and_software_trained_layers_follow_the_averages(rank, two_processes, one_process):
    torch.testing.assert_close(two_processes[rank]["mixed"], one_process["mixed"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_model_that_was_not_prepared_says_so(rank, two_processes):
    assert "prepare_for_ddp" in two_processes[rank]["error"]


@pytest.mark.parametrize("rank", [0, 1])
def test_software_trained_layers_can_be_sharded(rank, two_processes, one_process):
    torch.testing.assert_close(two_processes[rank]["sharded"], one_process["sharded"], rtol=1e-5, atol=1e-6)


def test_pulsed_layers_cannot_be_sharded_and_say_so(two_processes):
    assert "cannot be replaced or sharded" in two_processes[0]["sharding"]


def test_the_example_for_torchrun():
    example = Path(data_parallel.__file__).parents[1] / "examples" / "20_data_parallel.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "same weights on 2 processes: True" in done.stdout
