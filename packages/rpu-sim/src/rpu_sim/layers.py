"""The product of a layer between its digital ends, and its gradients, in one call of the core each.

The product is `periphery.product(...).layer(...)`: y = r s (W' u) + b with u = clip(x, -r, r) / r, where the array
holds W', a modified copy of W / s, and r, s, b and the modification are optional. The samples are the rows of a matrix,
or what the positions of a kernel see in images, which are never copied as a whole.

For the layers of frontends: tensors are float32 arrays or, which saves what a view costs, the addresses of contiguous
float32 memory on the CPU. Sizes of arrays are checked; of addresses nothing can be, so the caller answers for them.
"""

from __future__ import annotations

from ._core import Kernel, layer_gradients

__all__ = ["ROWS", "Kernel", "layer_gradients"]

ROWS = Kernel([], [], [])  # samples are the rows of a matrix
