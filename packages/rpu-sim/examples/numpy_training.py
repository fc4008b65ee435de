"""Train a two-layer network on the digits of scikit-learn, in NumPy, with pulses on simulated crossbars.

    python numpy_training.py [epochs]

Only rpu_sim, numpy and scikit-learn (for the data) are needed.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits

from rpu_sim import Tile
from rpu_sim.config import ConstantStepDevice, SingleRPUConfig

RATE, BATCH = 0.05, 10


def main(epochs: int = 5) -> float:
    """Train and return the accuracy on the test part."""
    images, labels = load_digits(return_X_y=True)
    x = np.hstack([images / 16, np.ones((len(images), 1))]).astype(np.float32)  # the last column is the bias
    train, test = slice(0, 1400), slice(1400, None)
    config = SingleRPUConfig(device=ConstantStepDevice())
    hidden, output = Tile(64, 65, config, seed=1), Tile(10, 64, config, seed=2)
    order = np.random.default_rng(0)

    for epoch in range(epochs):
        for rows in np.array_split(order.permutation(1400), 1400 // BATCH):
            h = np.tanh(hidden.forward(x[rows]))
            scores = output.forward(h)
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            d_out = p / p.sum(axis=1, keepdims=True)
            d_out[np.arange(len(rows)), labels[rows]] -= 1
            d_out /= len(rows)
            d_hidden = output.backward(d_out) * (1 - h * h)
            output.update(h, d_out, RATE)
            hidden.update(x[rows], d_hidden, RATE)
        predicted = output.forward(np.tanh(hidden.forward(x[test]))).argmax(axis=1)
        accuracy = float((predicted == labels[test]).mean())
        print(f"epoch {epoch + 1}: test accuracy {accuracy:.3f}")
    pulses = sum(hidden.pulse_counts) + sum(output.pulse_counts)
    print(f"{pulses} pulses fired on {x[train].shape[0]} training images")
    return accuracy


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
