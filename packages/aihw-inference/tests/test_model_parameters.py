"""Parameters of noise models: names, defaults, late changes, impossible values, models of one's own."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import aihw_inference as ai
from aihw_inference.errors import ConfigError

TABLE = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.08, 0.03], "nu_std_lst": [0.03, 0.01]}


@pytest.mark.parametrize(
    "model",
    [
        ai.PCMLikeNoiseModel(),
        ai.CustomDriftPCMLikeNoiseModel(TABLE),
        ai.StateIndependentNoiseModel(),
        ai.HermesNoiseModel(),
        ai.ReRamWan2022NoiseModel(),
        ai.ReRamCMONoiseModel(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_argument_is_an_attribute_that_rebuilds_the_model(model: ai.BaseNoiseModel):
    names = list(inspect.signature(type(model)).parameters)
    values = {name: getattr(model, name) for name in names if name not in ("g_min",)}
    assert type(model)(**values) == model
    assert repr(model).startswith(type(model).__name__ + "(")


def test_established_signatures():
    def names(cls: type) -> list[str]:
        return [p.name for p in inspect.signature(cls).parameters.values() if p.kind is not p.KEYWORD_ONLY]

    scales = "prog_noise_scale read_noise_scale drift_scale"
    pcm = f"prog_coeff g_converter g_max t_read t_0 {scales} prog_coeff_g_max_reference"
    assert names(ai.PCMLikeNoiseModel) == pcm.split()
    assert names(ai.CustomDriftPCMLikeNoiseModel) == ["custom_drift_model", *pcm.split()]
    hermes = pcm.replace("g_converter", "g_converter num_devices")
    assert names(ai.HermesNoiseModel) == hermes.split()
    state = "g_converter g_max prog_coeff prog_noise_scale drift_nu_mean drift_nu_std"
    state += " drift_scale t_0 read_noise_scale t_read"
    assert names(ai.StateIndependentNoiseModel) == state.split()
    cmo = f"coeff_dict g_max g_min {scales} decay_dict read_dict acceptance_range"
    assert names(ai.ReRamCMONoiseModel) == cmo.split()
    wan = "coeff_dic g_converter g_max noise_scale coeff_g_max_reference"
    assert names(ai.ReRamWan2022NoiseModel) == wan.split()


def test_defaults():
    pcm, one, two = ai.PCMLikeNoiseModel(), ai.HermesNoiseModel(num_devices=1), ai.HermesNoiseModel()
    assert (pcm.g_max, pcm.t_0, pcm.t_read, pcm.prog_coeff_g_max_reference) == (25.0, 20.0, 250e-9, 25.0)
    assert (one.g_max, one.t_0, two.g_max, two.t_0, two.t_read) == (10.35, 200.0, 20.7, 300.0, 512e-9)
    wan, cmo = ai.ReRamWan2022NoiseModel(), ai.ReRamCMONoiseModel()
    assert (wan.g_max, wan.coeff_g_max_reference) == (25.0, 40.0)
    assert (cmo.g_max, cmo.g_converter.g_min, cmo.acceptance_range) == (88.199997, 9.0, 0.02)


def test_parameters_can_be_set_and_typing_errors_are_found():
    model = ai.PCMLikeNoiseModel()
    model.read_noise_scale = 0.0
    assert model != ai.PCMLikeNoiseModel()
    for name in ("read_noise_scle", "g_max"):
        with pytest.raises(ConfigError, match=f"no parameter '{name}'") as caught:
            setattr(model, name, 1.0)
        assert isinstance(caught.value, AttributeError)
    model.t_0 = -1.0
    with pytest.raises(ConfigError, match="t_0"):
        ai.program(np.ones((2, 2)), model, rng=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ai.PCMLikeNoiseModel(prog_coeff=[]), "prog_coeff"),
        (lambda: ai.PCMLikeNoiseModel(prog_coeff=[np.nan]), "prog_coeff"),
        (lambda: ai.PCMLikeNoiseModel(t_read=0.0), "t_read"),
        (lambda: ai.PCMLikeNoiseModel(prog_noise_scale=-1.0), "prog_noise_scale"),
        (lambda: ai.PCMLikeNoiseModel(read_noise_scale=np.inf), "read_noise_scale"),
        (lambda: ai.PCMLikeNoiseModel(prog_coeff_g_max_reference=0.0), "prog_coeff_g_max_reference"),
        (lambda: ai.PCMLikeNoiseModel(g_converter=ai.SinglePairConductanceConverter(20.0), g_max=25.0), "contradicts"),
        (lambda: ai.StateIndependentNoiseModel(drift_nu_std=-0.1), "drift_nu_std"),
        (lambda: ai.HermesNoiseModel(num_devices=3), "num_devices"),
        (lambda: ai.HermesNoiseModel(g_max=21.0), "20.7 microsiemens at most"),
        (lambda: ai.HermesNoiseModel(num_devices=1, g_converter=ai.SinglePairConductanceConverter(25.0)), "10.35"),
        (lambda: ai.ReRamWan2022NoiseModel(coeff_dic={}), "at least one age"),
        (lambda: ai.ReRamWan2022NoiseModel(coeff_dic={0.0: [1.0]}), "positive"),
        (lambda: ai.ReRamWan2022NoiseModel(noise_scale=-1.0), "noise_scale"),
        (lambda: ai.ReRamCMONoiseModel(acceptance_range=0.2), "no key of coeff_dict"),
        (lambda: ai.ReRamCMONoiseModel(coeff_dict={0.02: [1.0]}), "two coefficients"),
        (lambda: ai.ReRamCMONoiseModel(decay_dict={"mean": [0.0]}), "decay_dict"),
        (lambda: ai.ReRamCMONoiseModel(read_dict={"K": 1.0}), "read_dict"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel({"g_lst": [0, 25], "nu_mean_lst": [0, 0]}), "exactly the keys"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(TABLE | {"g_lst": [0.0, 20.0]}), "not the converter's"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(TABLE | {"g_lst": [25.0, 0.0]}), "ascend"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(TABLE | {"g_lst": [0.0, 5.0, 25.0]}), "common length"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(TABLE | {"nu_std_lst": [0.0, -0.1]}), "negative"),
        # values of another type
        (lambda: ai.PCMLikeNoiseModel(g_max="25"), "g_max must be a number, got '25'"),
        (lambda: ai.PCMLikeNoiseModel(prog_coeff=0.2), "prog_coeff must be a list of numbers, got 0.2"),
        (lambda: ai.PCMLikeNoiseModel(prog_coeff=["a"]), "prog_coeff must be a number, got 'a'"),
        (lambda: ai.PCMLikeNoiseModel(g_converter="pair"), "g_converter must be a converter"),
        (
            lambda: ai.PCMLikeNoiseModel(g_converter=ai.SinglePairConductanceConverter),
            "g_converter must be a converter",
        ),
        (lambda: ai.StateIndependentNoiseModel(drift_nu_mean=np.nan), "drift_nu_mean"),
        (lambda: ai.StateIndependentNoiseModel(drift_nu_mean="0.1"), "drift_nu_mean"),
        (lambda: ai.HermesNoiseModel(num_devices=[1]), "num_devices"),
        (lambda: ai.ReRamWan2022NoiseModel(coeff_dic=[0.2]), "coeff_dic must be a mapping"),
        (lambda: ai.ReRamWan2022NoiseModel(coeff_dic={"1 s": [0.2]}), "the keys of coeff_dic must be numbers"),
        (lambda: ai.ReRamWan2022NoiseModel(coeff_dic={np.nan: [0.2]}), "positive"),
        (lambda: ai.ReRamCMONoiseModel(coeff_dict={}), "no key of coeff_dict"),
        (lambda: ai.ReRamCMONoiseModel(acceptance_range=[0.02]), "acceptance_range must be a number"),
        (lambda: ai.ReRamCMONoiseModel(decay_dict=3.0), "decay_dict must be a mapping"),
        (lambda: ai.ReRamCMONoiseModel(read_dict=3.0), "read_dict must be a mapping"),
        (lambda: ai.ReRamCMONoiseModel(read_dict={"K": np.nan, "t_read": 1e-6}), "K >= 0"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(None), "custom_drift_model must be a mapping"),
        (lambda: ai.CustomDriftPCMLikeNoiseModel(TABLE | {"g_lst": 25.0}), "custom_drift_model must be a list"),
        (lambda: ai.NPairConductanceConverter(2.0), "f_lst must be a list"),
        (lambda: ai.CustomPairConductanceConverter([1.0], [1.0, 2.0]), "g_lst must be a list"),
        (lambda: ai.FusionConductanceConverter("40"), "g_max of the chip must be a number"),
    ],
)
def test_impossible_values(make, words: str):
    with pytest.raises(ConfigError, match=words):
        make()


def test_equal_range_of_converter_and_model_is_no_contradiction():
    model = ai.PCMLikeNoiseModel(g_converter=ai.SinglePairConductanceConverter(20.0, 1.0), g_max=20.0)
    assert (model.g_max, model.prog_coeff_g_max_reference) == (20.0, 25.0)


class UniformSpread(ai.BaseNoiseModel):
    """A model of one's own: a constant spread, no drift, no read noise."""

    spread: float

    def __init__(self, spread: float) -> None:
        self.g_converter = ai.SinglePairConductanceConverter(g_max=10.0, g_min=1.0)
        self.spread = spread

    def programming_std(self, g_target):
        return g_target * 0.0 + self.spread

    def drift_coefficients(self, g_target, xi):
        return g_target * 0.0 + 0.0 * xi

    def conductance_at(self, g_prog, coefficients, t, xi):
        return g_prog


def test_a_model_of_ones_own(backend):
    weights = np.full((300, 300), 0.5, np.float32)
    state = ai.program(backend.array(weights), UniformSpread(0.2), rng=1, w_max=1.0)
    read = backend.numpy(state.weights_at(1e6))
    assert np.array_equal(read, backend.numpy(state.programmed_weights()))
    # n = 90 000, 5 standard errors
    assert abs(read.std() / (0.2 * np.sqrt(2.0) / 9.0) - 1.0) < 5.0 / np.sqrt(2 * read.size)
    assert abs(read.mean() - 0.5) < 5.0 * read.std() / np.sqrt(read.size)
