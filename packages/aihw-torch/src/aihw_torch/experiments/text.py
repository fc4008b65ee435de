"""A text to read by character: the first chapter of Alice's Adventures in Wonderland (Lewis Carroll, 1865)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib import resources

import torch
from torch import Tensor, nn


def alice() -> str:
    """Return the text, about 11 600 characters."""
    return (resources.files("aihw_torch.experiments") / "alice.txt").read_text(encoding="utf-8")


class Characters:
    """A text as numbers of its characters, the first 90 % to train with and the rest to test with.

    Args:
        text: by default `alice()`.

    Attributes:
        alphabet: the characters, sorted; the number of one is its place.
        train, test: the parts, int64 [n].
    """

    def __init__(self, text: str | None = None) -> None:
        text = alice() if text is None else text
        self.alphabet = "".join(sorted(set(text)))
        codes = self.encode(text)
        self.train, self.test = codes[: len(codes) * 9 // 10], codes[len(codes) * 9 // 10 :]

    def encode(self, text: str) -> Tensor:
        """Return the numbers of the characters of a text."""
        return torch.tensor([self.alphabet.index(character) for character in text])

    def decode(self, codes: Iterable[int]) -> str:
        """Return the text of some numbers."""
        return "".join(self.alphabet[int(code)] for code in codes)

    def batch(self, length: int, size: int, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return random pieces of the training part and the characters that follow each of theirs, [size, length]."""
        starts = torch.randint(len(self.train) - length, (size,), generator=rng)
        pieces = torch.stack([self.train[start : start + length + 1] for start in starts.tolist()])
        return pieces[:, :-1], pieces[:, 1:]

    def test_batches(self, length: int) -> list[tuple[Tensor, Tensor]]:
        """Return the test part cut into pieces, as one batch of inputs and next characters, each [pieces, length]."""
        n = (len(self.test) - 1) // length
        inputs, targets = self.test[: n * length], self.test[1 : n * length + 1]
        return [(inputs.view(n, length), targets.view(n, length))]


@torch.no_grad()
def perplexity(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return exp of the mean cross-entropy of a model that gives logits [..., characters]: lower is better.

    A model without any knowledge has as many as there are characters, one that knows the text by heart 1.
    """
    total = count = 0.0
    for x, target in batches:
        logits = model(x)
        total += float(nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="sum"))
        count += target.numel()
    return math.exp(total / count)
