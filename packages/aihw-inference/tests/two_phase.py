"""The reference's way of storing programmed weights, composed of our parts, to compare with its numbers."""

from __future__ import annotations

import numpy as np

from aihw_inference import ProgrammedArray


def two_phase_weights(state: ProgrammedArray, t: float) -> np.ndarray:
    """Decodes the programmed weights, encodes them anew with their own maximum, then drifts and reads.

    That loses the second device of a pair and changes the scale; our states keep the conductances instead.
    """
    converter = state.noise_model.g_converter
    conductances, parameters = converter.convert_to_conductances(state.programmed_weights())
    read = state.noise_model.apply_drift_noise_to_conductance(
        np.stack(conductances), state.drift_coefficients, t, rng=state.rng
    )
    return converter.convert_back_to_weights(list(read), parameters)
