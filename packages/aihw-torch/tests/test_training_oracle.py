"""Training of a small network, against the published statistics of a reference simulator (tests/data/training.json)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD

datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")

CASES = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "data" / "training.json").read_text())["cases"]
}
CONFIGS = {"FloatingPoint": FloatingPointRPUConfig, "constantstep_default": SingleRPUConfig}
SEEDS = 5


def train(config, seed, case):
    """Return the loss of each epoch and the test accuracy, by the procedure of the case."""
    procedure = case["procedure"]
    torch.manual_seed(seed)
    data = datasets.load_digits()
    images, labels = torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)
    model = AnalogSequential(
        AnalogLinear(64, 32, rpu_config=config),
        nn.Sigmoid(),
        AnalogLinear(32, 10, rpu_config=config),
        nn.LogSoftmax(dim=1),
    )
    optimizer = AnalogSGD(model.parameters(), lr=procedure["learning_rate"])
    losses = []
    for _ in range(procedure["epochs"]):
        total = 0.0
        for batch in torch.randperm(1400).split(procedure["batch"]):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch) / 1400
        losses.append(total)
    model.eval()
    with torch.no_grad():
        accuracy = float((model(images[1400:]).argmax(dim=1) == labels[1400:]).float().mean())
    return losses, accuracy


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_and_accuracy_are_those_of_the_reference(name):
    # Means of n = 8 seeds of the reference against n' = 5 of ours, both with the spread over seeds of the reference,
    # sigma: so the error of the difference is sigma * sqrt(1/8 + 1/5). sigma itself is known from 8 seeds only, hence a
    # factor of 6 (t with 7 degrees of freedom: a probability of 5e-4 per number), and a floor of 0.01 on the accuracy.
    case = CASES[name]
    stats = case["stats"]
    losses, accuracies = zip(*(train(CONFIGS[name](), seed, case) for seed in range(SEEDS)), strict=True)
    factor = 6.0 * np.sqrt(1.0 + 8.0 / SEEDS)  # of the standard error of the reference
    expected = np.array(stats["train_loss_per_epoch"]["value"])
    tolerance = factor * np.array(stats["train_loss_per_epoch"]["stderr"])
    assert (np.abs(np.mean(losses, axis=0) - expected) < tolerance).all()
    difference = np.mean(accuracies) - stats["test_accuracy"]["value"]
    assert abs(difference) < max(0.01, factor * stats["test_accuracy"]["stderr"])
