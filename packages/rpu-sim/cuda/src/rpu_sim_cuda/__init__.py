"""CUDA kernels of rpu-sim. Nothing in here is for users: rpu_sim finds the library and uses it."""

from pathlib import Path

LIBRARY = Path(__file__).with_name("rpu_cuda.so")
