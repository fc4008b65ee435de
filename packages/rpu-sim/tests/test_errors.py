"""Bad input: one clear sentence, and the state is unharmed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from rpu_sim import Tile, backends, clip_weights, derive_seed, modify_weights, remap_weights, set_num_threads
from rpu_sim import config as c
from rpu_sim.errors import BackendError, ConfigError, DtypeError, NonFiniteError, RpuError, ShapeError, StateError

IN, OUT = 6, 4


def rows(n: int, width: int) -> np.ndarray:
    return np.full((n, width), 0.25, np.float32)


def poisoned(value: float, width: int) -> np.ndarray:
    x = rows(3, width)
    x[2, width - 1] = value
    return x


BAD_INPUTS = {
    "nan": (lambda w: poisoned(np.nan, w), NonFiniteError),
    "infinity": (lambda w: poisoned(-np.inf, w), NonFiniteError),
    "too wide": (lambda w: rows(3, w + 1), ShapeError),
    "too narrow": (lambda w: rows(3, w - 1), ShapeError),
    "no dimension": (lambda w: np.array(0.25, np.float32), ShapeError),
    "double": (lambda w: rows(3, w).astype(np.float64), DtypeError),
    "integer": (lambda w: np.ones((3, w), np.int32), DtypeError),
    "half": (lambda w: rows(3, w).astype(np.float16), DtypeError),
    "masked": (lambda w: np.ma.masked_array(rows(3, w), False), DtypeError),
    "list": (lambda w: [[0.25] * w] * 3, DtypeError),
    "text": (lambda w: "x", DtypeError),
    "none": (lambda w: None, DtypeError),
}


@pytest.mark.parametrize("what", BAD_INPUTS)
@pytest.mark.parametrize("call", ["forward", "backward", "update x", "update d"])
@pytest.mark.parametrize("device", [c.ConstantStepDevice(), c.IdealDevice()], ids=["pulsed", "ideal"])
def test_bad_arrays(what: str, call: str, device: c.Device) -> None:
    make, kind = BAD_INPUTS[what]
    tile = Tile(OUT, IN, c.SingleRPUConfig(device=device))
    before = tile.state_dict()
    calls = {
        "forward": lambda: tile.forward(make(IN)),
        "backward": lambda: tile.backward(make(OUT)),
        "update x": lambda: tile.update(make(IN), rows(3, OUT), 0.1),
        "update d": lambda: tile.update(rows(3, IN), make(OUT), 0.1),
    }
    with pytest.raises(kind) as error:
        calls[call]()
    assert isinstance(error.value, RpuError)
    assert "\n" not in str(error.value)
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_update_needs_one_d_per_x() -> None:
    with pytest.raises(ShapeError, match="one d per x"):
        Tile(OUT, IN).update(rows(3, IN), rows(2, OUT), 0.1)


@pytest.mark.parametrize(
    ("lr", "kind"), [(np.nan, NonFiniteError), (np.inf, NonFiniteError), ("fast", DtypeError), (None, DtypeError)]
)
def test_bad_learning_rates(lr: object, kind: type[Exception]) -> None:
    tile = Tile(OUT, IN)
    with pytest.raises(kind):
        tile.update(rows(3, IN), rows(3, OUT), lr)  # type: ignore[arg-type]
    assert tile.steps["update"] == 0


def test_zero_size_batches() -> None:
    tile = Tile(OUT, IN)
    before = tile.get_weights()
    assert tile.forward(np.empty((0, IN), np.float32)).shape == (0, OUT)
    assert tile.backward(np.empty((2, 0, OUT), np.float32)).shape == (2, 0, IN)
    tile.update(np.empty((0, IN), np.float32), np.empty((0, OUT), np.float32), 0.1)
    np.testing.assert_array_equal(tile.weights, before)


def test_strided_and_shaped_inputs() -> None:
    """Strides, extra dimensions, read-only and reversed arrays give the bits of the plain array."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((5, 2 * IN)).astype(np.float32)
    plain = np.ascontiguousarray(wide[:, ::2])
    frozen = plain.copy()
    frozen.flags.writeable = False
    fortran = np.asfortranarray(plain)
    variants = [wide[:, ::2], frozen, fortran, plain[::-1][::-1], plain.reshape(5, 1, IN)]
    expected = Tile(OUT, IN, seed=1).forward(plain)
    for x in variants:
        np.testing.assert_array_equal(Tile(OUT, IN, seed=1).forward(x).reshape(5, OUT), expected)
    one = Tile(OUT, IN, seed=1).forward(plain[0])
    assert one.shape == (OUT,)


BAD_CONFIGS = {
    "negative step": lambda: c.ConstantStepDevice(dw_min=-1.0),
    "zero step": lambda: c.ConstantStepDevice(dw_min=0.0),
    "bounds": lambda: c.ConstantStepDevice(w_min=0.5),
    "infinite bound": lambda: c.SoftBoundsDevice(w_max=float("inf")),
    "nan": lambda: c.ConstantStepDevice(dw_min_std=float("nan")),
    "text": lambda: c.ConstantStepDevice(dw_min="small"),
    "bool as number": lambda: c.ConstantStepDevice(dw_min=True),
    "number as bool": lambda: c.ConstantStepDevice(perfect_bias=1),
    "lifetime": lambda: c.ConstantStepDevice(lifetime=0.5),
    "negative spread": lambda: c.ConstantStepDevice(w_max_dtod=-0.1),
    "probability": lambda: c.ConstantStepDevice(corrupt_devices_prob=1.5),
    "reverse": lambda: c.SoftBoundsDevice(reverse_up=True, mult_noise=False),
    "exp": lambda: c.ExpStepDevice(gamma_up=float("inf")),
    "ideal": lambda: c.IdealDevice(diffusion=-1.0),
    "write noise": lambda: c.SoftBoundsDevice(write_noise_std=-1.0),
    "negative drift": lambda: c.ConstantStepDevice(drift=c.DriftParameter(nu=-0.1)),
    "drift without an exponent": lambda: c.ConstantStepDevice(drift=c.DriftParameter(nu_k=0.1)),
    "drift without a clock": lambda: c.FloatingPointDevice(drift=c.SimpleDriftParameter(nu=0.1, t_0=0.0)),
    "nodes of two lengths": lambda: c.PiecewiseStepDevice(piecewise_up=[1.0, 0.5]),
    "no nodes": lambda: c.PiecewiseStepDevice(piecewise_up=[], piecewise_down=[]),
    "no step halfway": lambda: c.PiecewiseStepDevice(piecewise_up=[1.0, 0.0, 1.0], piecewise_down=[1.0, 0.0, 1.0]),
    "node as text": lambda: c.PiecewiseStepDevice(piecewise_up=["1"], piecewise_down=[1.0]),
    "nodes as a number": lambda: c.PiecewiseStepDevice(piecewise_up=1.0),
    "exponent": lambda: c.PowStepDevice(pow_gamma=-1.0),
    "reference": lambda: c.SoftBoundsReferenceDevice(reference_mean=float("inf")),
    "bound of a curve": lambda: c.SoftBoundsPmaxDevice(w_max=1.0),
    "curve of no pulses": lambda: c.SoftBoundsPmaxDevice(p_max=0),
    "curve of a text": lambda: c.SoftBoundsPmaxDevice(p_max="many"),
    "beyond float32": lambda: c.ConstantStepDevice(dw_min_std=1e39),
    "beyond float64": lambda: c.SoftBoundsDevice(w_max=10**400),
    "beyond 32 bits": lambda: c.ConstantStepDevice(construction_seed=2**31),
    "infinite diffusion": lambda: c.IdealDevice(diffusion=float("inf")),
    "infinite reset": lambda: c.IdealDevice(reset_std=float("inf")),
}


@pytest.mark.parametrize("what", BAD_CONFIGS)
def test_impossible_devices(what: str) -> None:
    with pytest.raises(ConfigError) as error:
        Tile(OUT, IN, c.SingleRPUConfig(device=BAD_CONFIGS[what]()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fields", [{"gamma": np.inf}, {"transfer_lr": np.inf}, {"gamma_vec": [np.inf, 1.0]}])
def test_infinite_factors_of_a_compound(fields: dict[str, object]) -> None:
    cell = c.TransferCompound(unit_cell_devices=[c.SoftBoundsDevice(), c.SoftBoundsDevice()], **fields)
    with pytest.raises(ConfigError, match="finite"):
        Tile(OUT, IN, c.UnitCellRPUConfig(device=cell))


def test_the_base_of_the_configurations_has_no_device() -> None:
    with pytest.raises(ConfigError, match="RPU configuration such as"):
        Tile(OUT, IN, c.RPUConfigBase())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "update",
    [
        c.UpdateParameters(desired_bl=0),
        c.UpdateParameters(desired_bl=10**6),
        c.UpdateParameters(um_grad_scale=0.0),
        c.UpdateParameters(pulse_type="StochasticCompressed"),
    ],
)
def test_impossible_updates(update: c.UpdateParameters) -> None:
    with pytest.raises(ConfigError):
        Tile(OUT, IN, c.SingleRPUConfig(update=update))


def test_typos_are_caught() -> None:
    config = c.SingleRPUConfig()
    with pytest.raises(ConfigError, match="did you mean 'out_noise'"):
        config.forward.out_nois = 0.1
    with pytest.raises(AttributeError):  # ConfigError is one, so hasattr and friends behave
        config.forwrd = c.IOParameters()
    with pytest.raises(ConfigError, match="RPU configuration"):
        Tile(OUT, IN, {"device": "ConstantStep"})  # type: ignore[arg-type]


@pytest.mark.parametrize("plain", [None, 5, [], {}, {"class": ["SingleRPUConfig"]}, {"class": "X"}])
def test_plain_configurations_without_a_class(plain: object) -> None:
    with pytest.raises(ConfigError, match="class") as error:
        c.from_dict(plain)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_trains_that_grow_without_limit_are_refused() -> None:
    update = c.UpdateParameters(update_bl_management=False, update_management=False, fixed_bl=False)
    tile = Tile(OUT, IN, c.SingleRPUConfig(update=update))
    before = tile.get_weights()
    with pytest.raises(ConfigError, match="fixed_bl"):
        tile.update(rows(3, IN), rows(3, OUT), 1e6)
    np.testing.assert_array_equal(tile.weights, before)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "4"])
def test_bad_sizes(size: object) -> None:
    with pytest.raises(ShapeError):
        Tile(size, IN)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        Tile(OUT, size)  # type: ignore[arg-type]


def test_bad_weights_and_calls() -> None:
    tile = Tile(OUT, IN)
    before = tile.state_dict()
    bad_weights = [
        (rows(3, IN), ShapeError),
        (np.full((OUT, IN), np.nan, np.float32), NonFiniteError),
        (np.zeros((OUT, IN)), DtypeError),
    ]
    for bad, kind in bad_weights:
        with pytest.raises(kind):
            tile.set_weights(bad)
    with pytest.raises(ConfigError):
        tile.reset(prob=1.5)
    with pytest.raises(NonFiniteError):
        tile.decay(float("nan"))
    with pytest.raises(NonFiniteError):
        tile.drift(float("nan"))
    with pytest.raises(ConfigError, match="backwards"):
        tile.drift(-1.0)
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ConfigError, match="cannot be reset"):
        Tile(OUT, IN, c.FloatingPointRPUConfig()).reset()
    with pytest.raises(ConfigError):
        derive_seed("seven")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="choose one of"):
        backends.set_isa("v9")


def test_hidden_parameters_are_a_dict() -> None:
    for nothing in (None, [np.zeros((OUT, IN), np.float32)], "dw_min"):
        with pytest.raises(StateError, match="are a dict of arrays by name"):
            Tile(OUT, IN).set_hidden_parameters(nothing)  # type: ignore[arg-type]


def test_cells_that_hold_themselves_are_refused() -> None:
    cell = c.VectorUnitCell([c.ConstantStepDevice()])
    cell.unit_cell_devices.append(c.TransferCompound([c.ConstantStepDevice(), cell]))
    with pytest.raises(ConfigError, match="VectorUnitCell holds itself"):
        cell.check()
    for config in (c.UnitCellRPUConfig(device=cell), c.DigitalRankUpdateRPUConfig(c.MixedPrecisionCompound(cell))):
        with pytest.raises(ConfigError, match="VectorUnitCell holds itself"):
            Tile(OUT, IN, config)


def test_arrays_that_cannot_hold_the_weights() -> None:
    """Refused before anything moves: forward, `weights` and the saved state go on to show the same array."""
    torch = pytest.importorskip("torch", reason="the array of another framework is of torch")
    frozen = np.zeros((OUT, IN), np.float32)
    frozen.flags.writeable = False
    refused = [
        (np.zeros((IN, OUT), np.float32).T, ShapeError),
        (np.zeros((OUT, 2 * IN), np.float32)[:, ::2], ShapeError),
        (frozen, ShapeError),
        (np.zeros((IN, OUT), np.float32), ShapeError),
        (np.zeros((OUT, IN)), DtypeError),
        (torch.zeros(OUT, IN), DtypeError),
    ]
    tile = Tile(OUT, IN)
    held, before = tile.weights, tile.state_dict()
    for array, kind in refused:
        with pytest.raises(kind) as error:
            tile.hold_weights_in(array)
        assert isinstance(error.value, RpuError)
        assert "\n" not in str(error.value)
        assert tile.weights is held
        np.testing.assert_array_equal(tile.get_weights(), before["weight"])
    with pytest.raises(DtypeError, match="gradient"):
        Tile(OUT, IN, like=torch.empty(0)).hold_weights_in(torch.zeros(OUT, IN, requires_grad=True))
    tile.hold_weights_in(np.full((OUT, IN), np.nan, np.float32))  # as numpy.empty may look: what it held is overwritten
    np.testing.assert_array_equal(tile.weights, before["weight"])


WRONG_NUMBERS = {
    "step": lambda tile: tile.forward(rows(3, IN), step=1.5),
    "sample_offset": lambda tile: tile.backward(rows(3, OUT), sample_offset="1"),
    "sample_offset of an update": lambda tile: tile.update(rows(3, IN), rows(3, OUT), 0.1, sample_offset=None),
    "lr": lambda tile: tile.update(rows(3, IN), rows(3, OUT), 10**400),
    "start_column": lambda tile: tile.reset(start_column=1.5),
    "n_columns": lambda tile: tile.reset(n_columns="2"),
    "prob": lambda tile: tile.reset(prob="1"),
    "max_iter": lambda tile: tile.program_weights(max_iter=1.5),
    "tolerance": lambda tile: tile.program_weights(tolerance="0.1"),
    "index of a device": lambda tile: setattr(tile, "hidden_update_index", 0.5),
}


@pytest.mark.parametrize("what", WRONG_NUMBERS)
def test_numbers_of_the_wrong_kind(what: str) -> None:
    cell = c.VectorUnitCell(unit_cell_devices=[c.ConstantStepDevice(), c.ConstantStepDevice()])
    tile = Tile(OUT, IN, c.UnitCellRPUConfig(device=cell))
    before = tile.state_dict()
    with pytest.raises(RpuError, match=what.partition(" of an ")[0]) as error:
        WRONG_NUMBERS[what](tile)
    assert "\n" not in str(error.value)
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_integers_and_flags_of_numpy() -> None:
    """They come from shapes, products and comparisons of arrays, and mean what the Python ones mean."""
    plain, numpys = Tile(OUT, IN, seed=2**63 + 1), Tile(np.int64(OUT), np.int32(IN), seed=np.uint64(2**63 + 1))
    for tile, one, flag in ((plain, 1, True), (numpys, np.int64(1), np.bool_(True))):
        tile.forward(rows(3, IN), step=one, sample_offset=one, evaluate=flag)
        tile.update(rows(3, IN), rows(3, OUT), 0.1, sample_offset=one)
        tile.reset(start_column=one, n_columns=one)
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(numpys.state_dict()[name], value)


def test_tensors_that_numpy_cannot_view() -> None:
    """Lazily negated tensors are evaluated, subclasses stay tensors, other data types get a sentence."""
    torch = pytest.importorskip("torch", reason="the tensors are of torch")
    plain = torch.linspace(-1, 1, 3 * IN).reshape(3, IN)
    expected = Tile(OUT, IN).forward(plain)
    negated = torch.complex(torch.zeros(3, IN), -plain).conj().imag
    assert negated.is_neg()
    assert torch.equal(Tile(OUT, IN).forward(negated), expected)
    derived = type("Derived", (torch.Tensor,), {})
    result = Tile(OUT, IN).forward(plain.as_subclass(derived))
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result, expected)
    tile = Tile(OUT, IN)
    with warnings.catch_warnings():  # torch's, that nested tensors may change
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([plain, plain[:1]])
    for bad, match in ((plain.bfloat16(), "bfloat16"), (plain.to_sparse(), "dense"), (nested, "dense")):
        with pytest.raises(DtypeError, match=match):
            tile.forward(bad)
    assert tile.steps["forward"] == 0


def test_impossible_back_ends() -> None:
    threads, level = backends.get_num_threads(), backends.isa()
    for n in (0, -1, 1.5, "2", None):
        with pytest.raises(ConfigError, match="number of threads"):
            set_num_threads(n)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="level"):
        backends.set_isa(None)  # type: ignore[arg-type]
    assert (backends.get_num_threads(), backends.isa()) == (threads, level)


@pytest.mark.parametrize(
    "device",
    [
        c.ConstantStepDevice(up_down=1e30),
        c.ConstantStepDevice(dw_min=3e38),
        c.LinearStepDevice(gamma_up_dtod=1e30),
        c.SoftBoundsReferenceDevice(w_max=1e-30),
    ],
    ids=lambda device: type(device).__name__,
)
def test_devices_whose_pulses_would_leave_float32_are_refused(device: c.PulsedDevice) -> None:
    with pytest.raises(ConfigError, match="lower them"):
        Tile(3, 4, c.SingleRPUConfig(device=device))


def test_weights_are_written_not_replaced() -> None:
    tile = Tile(2, 3, c.SingleRPUConfig(device=c.IdealDevice()))
    before = tile.weights.copy()
    tile.weights += 1.0
    np.testing.assert_array_equal(tile.get_weights(), before + np.float32(1.0))
    with pytest.raises(ConfigError, match=r"write with set_weights\(\)$"):
        tile.weights = before
    np.testing.assert_array_equal(tile.get_weights(), before + np.float32(1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: clip_weights(w, "a"), "WeightClipParameter, not 'a'"),
        (lambda w: modify_weights(w, None, seed=1), "WeightModifierParameter, not None"),
        (lambda w: remap_weights(w, w[0], c.WeightClipParameter()), "WeightRemapParameter, not"),
        (lambda w: c.build_config("agad", "soft"), "not 'soft'"),
        (lambda w: c.build_config(None, c.SoftBoundsDevice), "no algorithm None"),
    ],
)
def test_parameters_of_another_kind(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(np.ones((2, 2), np.float32))
