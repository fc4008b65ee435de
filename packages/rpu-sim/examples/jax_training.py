"""A crossbar inside a jitted JAX program: the products are callbacks, the state lives in NumPy.

    python jax_training.py

Needs rpu_sim and jax. JAX arrays are read-only, so the pulsed update is a call between two steps.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rpu_sim import Tile
from rpu_sim.config import SingleRPUConfig, SoftBoundsDevice

tile = Tile(2, 4, SingleRPUConfig(device=SoftBoundsDevice()), seed=1)


@jax.custom_vjp
def analog(x: jax.Array) -> jax.Array:
    """The product of the crossbar, differentiable with respect to its input."""
    shape = jax.ShapeDtypeStruct((*x.shape[:-1], tile.out_size), jnp.float32)
    return jax.pure_callback(lambda a: np.asarray(tile.forward(np.asarray(a))), shape, x)


def _backward(x: jax.Array, d: jax.Array) -> tuple[jax.Array]:
    shape = jax.ShapeDtypeStruct((*d.shape[:-1], tile.in_size), jnp.float32)
    return (jax.pure_callback(lambda a: np.asarray(tile.backward(np.asarray(a))), shape, d),)


analog.defvjp(lambda x: (analog(x), x), _backward)


@jax.jit
def loss_and_gradients(x: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Loss, its gradient at the output of the crossbar, and its gradient at the input."""
    output, pullback = jax.vjp(analog, x)
    error = output - target
    d = 2 * error / error.size
    return jnp.mean(error**2), d, pullback(d)[0]


def main(steps: int = 150) -> list[float]:
    """Fit two rows; returns the losses."""
    x = jnp.asarray([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]], jnp.float32)
    target = jnp.asarray([[1.0, 0.5], [0.7, 0.3]], jnp.float32)
    losses = []
    for step in range(steps):
        loss, d, _ = loss_and_gradients(x, target)
        tile.update(x, d, 0.1)
        losses.append(float(loss))
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:3d}: loss {loss:.4f}")
    return losses


if __name__ == "__main__":
    main()
