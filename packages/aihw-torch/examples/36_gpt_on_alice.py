"""A small GPT is converted, trained hardware-aware, programmed into phase-change memory, and writes text.

All linear layers move to tiles, attention and norms stay digital. The perplexity on the end of the chapter tells what
conversion costs: digital, converted as it is, and converted and trained further with noisy weights; the latter two
programmed into `--chips` chips and read an hour and a month later. (No pretrained weights are needed: the model is
trained here, character by character, on the first chapter of Alice's Adventures in Wonderland.)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aihw_torch.config import InferenceRPUConfig, IOParameters, WeightClipType, WeightModifierType
from aihw_torch.experiments import Characters, command_line, format_table, perplexity
from aihw_torch.inference import evaluate_over_time, program_analog_weights
from aihw_torch.nn import convert_to_analog


class Block(nn.Module):
    """Causal self-attention and a network of two layers, each with a norm before and a way around."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> the same."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.before_attention(x)).chunk(3, -1)
        )
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.network(self.before_network(x))


class GPT(nn.Module):
    """Characters and their places as vectors, blocks, logits of the next character."""

    def __init__(self, characters: int, context: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.context = context
        self.character, self.place = nn.Embedding(characters, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.logits = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, codes: Tensor) -> Tensor:
        """[batch, time] -> [batch, time, characters]."""
        x = self.character(codes) + self.place(torch.arange(codes.shape[1]))
        return self.logits(self.norm(self.blocks(x)))


def train(model: nn.Module, text: Characters, steps: int, lr: float, context: int) -> None:
    """Train with AdamW and a cosine schedule."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    model.train()
    for _ in range(steps):
        x, y = text.batch(context, 16)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def write(model: nn.Module, text: Characters, start: str, n: int, context: int) -> str:
    """Return `start` and `n` characters that the model draws after it."""
    codes = text.encode(start)
    for _ in range(n):
        logits = model(codes[None, -context:])[0, -1]
        codes = torch.cat([codes, torch.multinomial(torch.softmax(logits / 0.7, 0), 1)])
    return text.decode(codes.tolist())


def configuration(noise: float) -> InferenceRPUConfig:
    """8-bit converters, weights mapped to the range of the devices, and weight noise in training."""
    config = InferenceRPUConfig(forward=IOParameters(inp_res=254, out_res=254, out_bound=10.0, out_noise=0.04))
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN, 2.5
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, noise
    return config


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, convert, train further, print perplexities and a text, and return the perplexities."""
    options = command_line(
        __doc__,
        arguments,
        steps=(600, "of the digital training; half of them hardware-aware"),
        width=64,
        blocks=2,
        context=48,
        chips=5,
        noise=(0.06, "of the weights in training, of their largest"),
    )

    text = Characters()
    test = text.test_batches(options.context)
    digital = GPT(len(text.alphabet), options.context, options.width, 4, options.blocks)
    train(digital, text, options.steps, 3e-3, options.context)
    direct = convert_to_analog(copy.deepcopy(digital), configuration(options.noise)).eval()
    aware = convert_to_analog(copy.deepcopy(digital), configuration(options.noise))
    train(aware, text, options.steps // 2, 1e-3, options.context)

    found = {"digital": perplexity(digital, test)}
    rows = [{"network": "digital", "1 hour": found["digital"], "1 month": found["digital"], "std. err.": 0.0}]
    for name, model in {"converted": direct, "hardware-aware": aware}.items():
        table = evaluate_over_time(
            model, test, [3600.0, 2592000.0], options.chips, metric=perplexity, name="perplexity", seed=options.seed
        )
        hour, month = table.mean.tolist()
        rows.append({"network": name, "1 hour": hour, "1 month": month, "std. err.": float(table.standard_error[1])})
        found[name] = month
    print(format_table(rows))
    program_analog_weights(aware, seed=options.seed)
    print(f"\nwritten by one chip:\n{write(aware, text, 'Alice was', 200, options.context)}")
    return found


if __name__ == "__main__":
    main()
