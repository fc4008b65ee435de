"""What each random number is for: the top byte of the last Philox counter word.

A draw is addressed by key (seed of the array) and counter {index, sample, step, stream << 24 | draw}; see
``core/rng.hpp``. The numbers are part of the reproducibility contract: never reuse or renumber one.
"""

from __future__ import annotations

import enum


class Stream(enum.IntEnum):
    """Purpose of a draw."""

    POPULATION = 1  # device-to-device variation, once per tile
    INITIAL_WEIGHTS = 2
    X_TRAIN = 3  # pulse trains of the columns
    D_TRAIN = 4  # pulse trains of the rows
    X_ROUND = 5  # stochastic rounding of pulse probabilities
    D_ROUND = 6
    CYCLE_MERGED = 7  # cycle noise of all pulses of one update call in one draw
    CYCLE_PULSE = 8  # cycle noise, one draw per pulse
    DIFFUSION = 9
    RESET = 10
    DRIFT = 11
    WRITE_NOISE = 12
    FORWARD_INPUT = 16  # input noise and DAC rounding
    FORWARD_OUTPUT = 17  # output noise and ADC rounding
    BACKWARD_INPUT = 18
    BACKWARD_OUTPUT = 19
    FORWARD_CONSTANTS = 20  # per-output constants of the periphery, once per tile
    BACKWARD_CONSTANTS = 21
    WEIGHT_MODIFIER = 32  # noisy copy of the weights in hardware-aware training
    TRANSFER_SLICE = 48  # which slice a transfer starts at
    IN_CHOPPER = 49  # switching the sign of an input line of a chopped transfer
    OUT_CHOPPER = 50
    CELL_POLICY = 51  # which device of a cell an update pulses
    RANK_ROW = 52  # which row a digital rank update starts at
    RANK_ROUND_X = 53  # rounding of the factors of a digital rank update
    RANK_ROUND_D = 54
