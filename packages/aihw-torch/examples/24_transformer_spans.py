"""A small transformer finds the answer of a question in a sequence, digital, converted, and trained hardware-aware.

The task stands in for SQuAD: the first token is a question, the answer is where that token is repeated; the network
gives the position of its start and of its end. `convert_to_analog` also converts `nn.MultiheadAttention`; the loop
needs no particular trainer. (Pretrained weights would need a download; here the network starts from random ones.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from aihw_torch.config import InferenceRPUConfig, IOParameters, WeightModifierType
from aihw_torch.experiments import command_line, format_table
from aihw_torch.inference import evaluate_over_time
from aihw_torch.nn import convert_to_analog

TOKENS, LENGTH = 12, 16


def questions(n: int) -> tuple[Tensor, Tensor]:
    """Sequences [n, 1 + LENGTH], and the first and last place of the answer in them, [n, 2]."""
    question = torch.randint(TOKENS, (n, 1))
    context = (question + torch.randint(1, TOKENS, (n, LENGTH))) % TOKENS  # all but the question
    size = torch.randint(1, 5, (n, 1))
    start = (torch.rand(n, 1) * (LENGTH - size + 1)).long()
    place = torch.arange(LENGTH)
    context = torch.where((place >= start) & (place < start + size), question, context)
    return torch.cat([question, context], 1), torch.cat([start, start + size - 1], 1)


class SpanFinder(nn.Module):
    """Embeddings, an encoder of torch, and two logits for every place of the context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(TOKENS, width), nn.Embedding(1 + LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.ends = nn.Linear(width, 2)

    def forward(self, codes: Tensor) -> Tensor:
        """[n, 1 + LENGTH] -> logits [n, 2, LENGTH]."""
        x = self.token(codes) + self.place(torch.arange(codes.shape[1]))
        return self.ends(self.encoder(x))[:, 1:].transpose(1, 2)


def train(model: nn.Module, steps: int, lr: float) -> None:
    """Train with Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(steps):
        codes, ends = questions(32)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(codes).flatten(0, 1), ends.flatten()).backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def exact_match(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Fraction of the questions of which both ends are right."""
    hits = [(model(codes).argmax(-1) == ends).all(1) for codes, ends in batches]
    return float(torch.cat(hits).float().mean())


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, convert, train further, print a table, and return the fractions."""
    options = command_line(
        __doc__, arguments, steps=(600, "of the digital training; half of them hardware-aware"), width=32, chips=5
    )

    digital = SpanFinder(options.width)
    train(digital, options.steps, 3e-3)
    config = InferenceRPUConfig(forward=IOParameters(inp_res=254, out_res=254, out_bound=10.0, out_noise=0.04))
    config.mapping.weight_scaling_omega = 1.0
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.08
    direct = convert_to_analog(copy.deepcopy(digital), config).eval()
    aware = convert_to_analog(copy.deepcopy(digital), config)
    train(aware, options.steps // 2, 1e-3)

    test = [questions(500)]
    found = {"digital": exact_match(digital, test)}
    for name, model in {"converted, 1 day": direct, "hardware-aware, 1 day": aware}.items():
        table = evaluate_over_time(model, test, [86400.0], options.chips, metric=exact_match, seed=options.seed)
        found[name] = float(table.mean[0])
    print(format_table([{"network": name, "exact match": value} for name, value in found.items()]))
    return found


if __name__ == "__main__":
    main()
