"""Threads: `rpu_sim` computes on those of torch, as many as torch has."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

import rpu_sim

if sys.platform != "win32":  # where nothing names all libraries of a process
    rpu_sim.backends.use_openmp(ctypes.CDLL(None))

_followed = 0


def follow_torch() -> None:
    """Give `rpu_sim` as many threads as torch has, whenever torch's number changes.

    `RPU_NUM_THREADS` in the environment wins, and so does `rpu_sim.set_num_threads` until torch's number changes again.
    """
    global _followed
    threads = torch.get_num_threads()
    if threads != _followed:
        if "RPU_NUM_THREADS" not in os.environ:
            rpu_sim.set_num_threads(threads)
        _followed = threads
