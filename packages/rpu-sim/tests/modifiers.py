"""Modifiers of the tests: every type, and every field that changes what a type does."""

from __future__ import annotations

from rpu_sim.config import WeightModifierParameter as Modifier
from rpu_sim.config import WeightModifierType as Type

MODIFIERS = {
    "none": Modifier(type=Type.NONE, pdrop=0.5),
    "copy": Modifier(type=Type.COPY),
    "copy-drop": Modifier(type=Type.COPY, pdrop=0.3),
    "drop-connect": Modifier(type=Type.DROP_CONNECT, pdrop=0.2, copy_last_column=True),
    "drop-all": Modifier(type=Type.DROP_CONNECT, pdrop=1.0),
    "add-normal": Modifier(type=Type.ADD_NORMAL, std_dev=0.1),
    "add-normal-assumed": Modifier(
        type=Type.ADD_NORMAL, std_dev=0.1, rel_to_actual_wmax=False, assumed_wmax=0.8, copy_last_column=True, pdrop=0.1
    ),
    "mult-normal": Modifier(type=Type.MULT_NORMAL, std_dev=0.2),
    "discretize": Modifier(type=Type.DISCRETIZE, res=0.05),
    "discretize-steps": Modifier(type=Type.DISCRETIZE, res=30.0, sto_round=True),
    "discretize-off": Modifier(type=Type.DISCRETIZE, res=-1.0, sto_round=True),
    "discretize-add-normal": Modifier(type=Type.DISCRETIZE_ADD_NORMAL, res=0.1, std_dev=0.05, copy_last_column=True),
    "dorefa": Modifier(type=Type.DOREFA, res=0.08),
    "dorefa-stochastic": Modifier(type=Type.DOREFA, res=14.0, sto_round=True, dorefa_clip=0.9),
    "dorefa-smooth": Modifier(type=Type.DOREFA, rel_to_actual_wmax=False, assumed_wmax=0.4),
    "poly": Modifier(type=Type.POLY, std_dev=1.0),
    "poly-own": Modifier(type=Type.POLY, std_dev=0.5, coeffs=[0.1, 0.0, -0.05, 0.02]),
    "prog-noise": Modifier(type=Type.PROG_NOISE, std_dev=3.0),
    "prog-noise-own": Modifier(type=Type.PROG_NOISE, std_dev=1.0, coeffs=[4.0], g_max=20.0, pdrop=0.1),
    "pcm": Modifier(type=Type.PCM_NOISE, std_dev=1.0),
    "pcm-drift": Modifier(type=Type.PCM_NOISE, std_dev=2.0, pcm_t_inference=86400.0, pcm_zero_thres=1.5, pdrop=0.05),
    "pcm-events": Modifier(
        type=Type.PCM_NOISE,
        std_dev=1.0,
        pcm_prob_at_reset=0.2,
        pcm_prob_at_gmax=0.2,
        pcm_prob_at_random=0.3,
        rel_to_actual_wmax=False,
        assumed_wmax=0.3,
        copy_last_column=True,
    ),
}  # fmt: skip
