"""Small data sets for examples and experiments, without a download."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

N_TRAIN = 1400  # of the 1797 digits; the rest, from other writers, is the test set


def load_digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's handwritten digits, 1797 images [n, 8, 8] in 0..1, and their labels."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn; install it with pip install 'aihw-torch[examples]'"
        ) from error
    data = datasets.load_digits()
    return torch.tensor(data.images / 16.0, dtype=torch.float32), torch.tensor(data.target)


def digits(size: int = 8, *, flat: bool = False) -> tuple[TensorDataset, TensorDataset]:
    """Return 1400 handwritten digits to train with and 397 of other writers to test with.

    Args:
        size: height and width, interpolated from 8 x 8 where it differs.
        flat: images as rows [size * size] instead of [1, size, size].
    """
    images, labels = load_digits()
    images = images[:, None]
    if size != 8:
        images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    images = images.flatten(1) if flat else images
    return TensorDataset(images[:N_TRAIN], labels[:N_TRAIN]), TensorDataset(images[N_TRAIN:], labels[N_TRAIN:])


class Digits(Dataset[tuple[Any, int]]):
    """The handwritten digits with the constructor of torchvision's data sets, for the classes of experiments.

    Args:
        root, download: without a meaning here.
        train: the 1400 training images or the 397 test images.
        transform: applied to each image, [1, size, size] in 0..1.
        size: height and width.
    """

    def __init__(
        self,
        root: str = "",
        train: bool = True,
        transform: Callable[[Tensor], Any] | None = None,
        download: bool = False,
        *,
        size: int = 8,
    ) -> None:
        self._images, self._labels = digits(size)[0 if train else 1].tensors
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self._images[index]
        return image if self._transform is None else self._transform(image), int(self._labels[index])


def textures(n: int, *, classes: int = 10, size: int = 32, noise: float = 0.3, seed: int = 0) -> TensorDataset:
    """Return `n` coloured images of stripes, [3, size, size], that stand in for small photographs.

    The class is the direction of the stripes; their period, phase and colours are random, and noise lies over them.
    """
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    angle = labels * (math.pi / classes)
    period, phase = (4.0 + 4.0 * torch.rand(n, generator=rng) for _ in range(2))
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = angle.cos().view(-1, 1, 1) * x + angle.sin().view(-1, 1, 1) * y
    wave = torch.sin(2 * math.pi * (along / period.view(-1, 1, 1) + phase.view(-1, 1, 1)))
    colour = torch.rand(n, 3, 1, 1, generator=rng) - 0.5
    colour = colour / colour.norm(dim=1, keepdim=True)
    images = colour * wave[:, None] + noise * torch.randn(n, 3, size, size, generator=rng)
    return TensorDataset(images, labels)
