"""The training loops that trainer libraries write around a model, beside the digital ones; none of them knows of us."""

from __future__ import annotations

import copy
import functools
import io

import pytest
import torch
from layer_examples import exact_config
from torch import nn

from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import WeightTile

KINDS = ["pulsed", "software"]


def network():
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))


def config_of(kind):
    if kind == "pulsed":
        return FloatingPointRPUConfig()
    config = exact_config("ideal")
    config.tile_class = WeightTile
    return config


def optimizer_of(kind, model, *, analog, weight_decay=0.01):
    """Group the parameters by name, as trainers do: no weight decay for biases and normalisations."""
    plain = [p for name, p in model.named_parameters() if "bias" in name or name.startswith("1.")]
    decayed = [p for name, p in model.named_parameters() if not ("bias" in name or name.startswith("1."))]
    decay = weight_decay if kind == "software" else 0.0  # which a pulsed tile does not know, and says so
    groups = [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    if kind == "software":
        return torch.optim.AdamW(groups, lr=0.02)
    return (AnalogSGD if analog else torch.optim.SGD)(groups, lr=0.1)


def batches(count):
    generator = torch.Generator().manual_seed(5)
    return [(torch.randn(4, 6, generator=generator), torch.randint(3, (4,), generator=generator)) for _ in range(count)]


class Trainer:
    """A loop with accumulation, clipping, warm-up, autocast and checkpoints, as that of `transformers.Trainer`."""

    def __init__(self, model, optimizer, *, accumulation=2, max_norm=0.5, dtype=None):
        self.model, self.optimizer = model, optimizer
        self.accumulation, self.max_norm, self.dtype = accumulation, max_norm, dtype
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))

    def train(self, data):
        self.model.train()
        losses, norms = [], []
        for number, (x, target) in enumerate(data, start=1):
            with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype is not None):
                loss = nn.functional.cross_entropy(self.model(x), target)
            (loss / self.accumulation).backward()
            losses.append(loss.detach())
            if number % self.accumulation == 0:
                norms.append(nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm))
                self.optimizer.step()
                self.scheduler.step()
                self.model.zero_grad()
        return torch.stack(losses).float(), torch.stack(norms)

    def save(self):
        file = io.BytesIO()
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        torch.save({**parts, "rng": torch.get_rng_state()}, file)
        return file

    def load(self, file):
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        for name in ("model", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(saved[name])
        torch.set_rng_state(saved["rng"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_trainer_loop_is_that_of_the_digital_network(kind, dtype):
    digital = network()
    model = convert_to_analog(copy.deepcopy(digital), config_of(kind))
    results = [
        Trainer(each, optimizer_of(kind, each, analog=each is model), dtype=dtype).train(batches(12))
        for each in (model, digital)
    ]
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype is None else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(*results, **tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_resumes_with_the_same_bits(kind):
    config = SingleRPUConfig() if kind == "pulsed" else config_of(kind)

    def trainer():
        model = convert_to_analog(network(), config)
        return Trainer(model, optimizer_of(kind, model, analog=True))

    data, whole, parts = batches(12), trainer(), trainer()
    parts.model.load_state_dict(whole.model.state_dict())
    expected = whole.train(data)
    first = parts.train(data[:6])
    resumed = trainer()  # another model, with other devices
    resumed.load(parts.save())
    second = resumed.train(data[6:])
    for own, *halves in zip(expected, first, second, strict=True):
        torch.testing.assert_close(torch.cat(halves), own, rtol=0, atol=0)


class Prepared(torch.optim.Optimizer):
    """An optimizer around another that asks a GradScaler whether to step, as that of `accelerate`."""

    def __init__(self, optimizer, scaler):
        self.optimizer, self.scaler, self.called = optimizer, scaler, False

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        original = self.optimizer.step

        @functools.wraps(original)
        def noticed(*args, **kwargs):
            self.called = True
            return original(*args, **kwargs)

        self.called, self.optimizer.step = False, noticed
        self.scaler.step(self.optimizer, closure)
        self.scaler.update()
        self.optimizer.step = original
        return self.called


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_inside_of_another_with_a_scaler(kind):
    digital = network()
    model = convert_to_analog(copy.deepcopy(digital), config_of(kind))
    results = []
    for each in (model, digital):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        optimizer = Prepared(optimizer_of(kind, each, analog=each is model), scaler)
        stepped = []
        for number, (x, target) in enumerate(batches(6)):
            loss = nn.functional.cross_entropy(each(x), target)
            if number == 2:  # an overflow, which the scaler skips
                loss = loss * torch.inf
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer.optimizer)
            nn.utils.clip_grad_norm_(each.parameters(), 0.5)
            stepped.append(optimizer.step())
            optimizer.zero_grad()
        assert stepped == [True, True, False, True, True, True]
        results.append(each(batches(1)[0][0]).detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
