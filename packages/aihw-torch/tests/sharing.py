"""What the other process of a test of shared memory does."""

from __future__ import annotations

import torch


def write(model):
    """Set the weights of the first layer, and check that they are where the sender has them."""
    torch.set_num_threads(1)
    layer = model[0]
    assert layer.weight.is_shared()
    assert layer.weight.data_ptr() == layer.analog_module.tile.weights.data_ptr()
    with torch.no_grad():
        layer.weight.fill_(0.25)
    torch.testing.assert_close(layer(torch.ones(1, 4)).detach()[0], 1.0 + layer.bias.detach())
