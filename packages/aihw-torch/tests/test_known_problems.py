"""What fails in the field's established frontend, row by row: here it works, or one sentence says what to do instead.

Rows with test files of their own: deep copies and pickles of pulsed models and of optimizers (test_state,
test_conversion), weights_only (test_checkpoints), wrong optimizers and Adam (test_optimizer, test_training_tools),
GradScaler and autocast (test_gradients), other data types (test_periphery), torch.compile (test_compile), checkpoints
(test_checkpointing), distributed training (test_distributed), averages of weights (test_training_tools).
"""

from __future__ import annotations

import copy
import gc
import warnings

import pytest
import sharing
import torch
import torch.multiprocessing as mp
from layer_examples import exact_config
from torch import nn

from aihw_torch.config import FloatingPointRPUConfig, IOParameters, MappingParameter, SingleRPUConfig
from aihw_torch.errors import OptimizerError, StateError
from aihw_torch.nn import AnalogLinear, AnalogSequential, convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import WeightTile

EXACT = FloatingPointRPUConfig()
QUIET = IOParameters(is_perfect=True)


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and ". " not in text


# ---- copies and loading keep gradients right


@pytest.mark.parametrize("tile_class", [None, WeightTile])
@pytest.mark.parametrize("how", ["deepcopy", "load"])
def test_scales_of_copies_and_loaded_layers_are_in_their_gradients(tile_class, how):
    config = exact_config("ideal")
    config.tile_class, config.mapping = tile_class, MappingParameter(weight_scaling_omega=0.1)
    layer = AnalogLinear(4, 3, rpu_config=config)
    layer.set_weights(7.0 * torch.randn(3, 4), torch.zeros(3))
    if how == "deepcopy":
        twin = copy.deepcopy(layer)
    else:
        twin = AnalogLinear(4, 3, rpu_config=config)
        assert twin.analog_module.mapping_scales != layer.analog_module.mapping_scales
        twin.load_state_dict(layer.state_dict())
    digital, x = layer.to_digital(), torch.randn(5, 4)
    for model in (layer, twin, digital):
        optimizer = (torch.optim.SGD if tile_class or model is digital else AnalogSGD)(model.parameters(), lr=0.1)
        model(x).square().sum().backward()
        optimizer.step()
    for model in (layer, twin):
        torch.testing.assert_close(model.get_weights()[0], digital.weight.data, rtol=1e-5, atol=1e-5)


# ---- a wrong optimizer neither learns silently nor leaks


def test_a_wrong_optimizer_is_told_and_nothing_piles_up():
    layer = AnalogLinear(4, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(2, 4)).sum().backward()
        with pytest.raises(OptimizerError, match="AnalogOptimizer") as caught:
            optimizer.step()
        assert one_sentence(caught)
        assert len(layer.analog_module.record) == 2  # that of the last pass


def test_a_second_step_and_a_stale_batch_do_nothing():
    layer = AnalogLinear(4, 3, rpu_config=EXACT)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    before = layer.get_weights()[0]
    optimizer.step()  # a double step
    layer(torch.randn(2, 4)).sum().backward()  # a batch that is skipped
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(layer.get_weights()[0], before)


# ---- shared memory and several processes


def test_shared_memory():
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=EXACT), nn.Linear(3, 2)).share_memory()
    layer = model[0]
    assert layer.weight.is_shared()
    assert layer.weight.data_ptr() == layer.analog_module.tile.weights.data_ptr()
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    other = mp.get_context("spawn").Process(target=sharing.write, args=(model,))
    other.start()
    other.join(timeout=120)
    assert other.exitcode == 0
    assert (layer.get_weights()[0] == 0.25).all()  # what the other process wrote
    torch.testing.assert_close(layer(torch.ones(1, 4))[0], 1.0 + layer.bias)


def test_data_parallel():
    with pytest.raises(StateError, match="DistributedDataParallel") as caught:
        AnalogLinear(2, 2).analog_module._replicate_for_data_parallel()  # which torch calls on GPUs only
    assert one_sentence(caught)


# ---- other ways to run a model


def test_jit_trace():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        with pytest.raises(StateError, match=r"torch\.export") as caught:
            torch.jit.trace(AnalogLinear(4, 3), torch.randn(2, 4))
    assert one_sentence(caught)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:DeprecationWarning")  # inside of torch.func.jvp
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: torch.func.vmap(f)(x),
        lambda f, x: torch.func.grad(lambda t: f(t).sum())(x),
        lambda f, x: torch.func.jacrev(f)(x),
        lambda f, x: torch.func.jvp(f, (x,), (x,)),
    ],
)
def test_torch_func_over_pulsed_tiles(transform):
    layer = AnalogLinear(4, 3)
    with pytest.raises(StateError, match=r"torch\.func transforms") as caught:
        transform(layer, torch.randn(2, 4))
    assert one_sentence(caught)
    assert int(layer.analog_module.forward_step) == 0


def test_torch_func_over_software_tiles():
    layer = AnalogLinear(4, 3, rpu_config=SingleRPUConfig(tile_class=WeightTile))
    twin, x = layer.to_digital(), torch.randn(2, 4)
    torch.testing.assert_close(torch.func.vmap(layer)(x), twin(x))
    torch.testing.assert_close(torch.func.jacrev(layer)(x), torch.func.jacrev(twin)(x))


@pytest.mark.parametrize("tile_class", [None, WeightTile])
def test_functional_call_honours_the_given_values(tile_class):
    config = exact_config("ideal")
    config.tile_class = tile_class
    layer, x = AnalogLinear(4, 3, rpu_config=config), torch.randn(2, 4)
    weight, bias = torch.randn(3, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    given = {"analog_module.weight": weight, "analog_module.bias": bias}
    before = layer.get_weights()[0]
    y = torch.func.functional_call(layer, given, (x,))
    torch.testing.assert_close(y, x @ weight.T + bias)
    y.square().sum().backward()
    torch.testing.assert_close(weight.grad, 2.0 * y.detach().T @ x)
    torch.testing.assert_close(bias.grad, 2.0 * y.detach().sum(0))
    assert torch.equal(layer.get_weights()[0], before)
    torch.testing.assert_close(layer(x), layer.to_digital()(x))


# ---- parameters are parameters


def test_counting_parameters():
    """Those of the digital model, and one element for the token of each pulsed tile."""
    digital = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))

    def count(model):
        return sum(p.numel() for p in model.parameters())

    software = SingleRPUConfig(tile_class=WeightTile)
    assert count(convert_to_analog(digital, software)) == count(digital)
    assert count(convert_to_analog(digital, SingleRPUConfig())) == count(digital) + 2


def test_weights_are_read_by_name_as_of_any_model():
    model = convert_to_analog(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), EXACT)
    named = {name: p for name, p in model.named_parameters() if name.endswith("weight")}
    assert [tuple(p.shape) for p in named.values()] == [(3, 4), (2, 3)]
    norm = sum(float(p.norm() ** 2) for p in named.values())
    vector = nn.utils.parameters_to_vector(named.values())
    torch.testing.assert_close(float(vector.norm() ** 2), norm, rtol=1e-5, atol=0)
    for p in named.values():
        assert torch.isfinite(p.sum())
        assert p.T.shape == p.shape[::-1]
        assert p.grad is None


class LowRank(nn.Module):
    """A frozen layer with a trained correction of low rank."""

    def __init__(self, layer, rank=2):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def test_low_rank_corrections_of_frozen_analog_weights():
    model = LowRank(AnalogLinear(4, 3))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    before = model.layer.get_weights()[0]
    model(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    assert len(model.layer.analog_module.record) == 0
    assert torch.equal(model.layer.get_weights()[0], before)
    assert model.up.weight.grad.any()


def test_optimizers_made_before_moving_and_loading_keep_working():
    model = AnalogSequential(AnalogLinear(4, 3, rpu_config=EXACT))
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model.to("cpu").load_state_dict(model.state_dict())
    model[0].analog_module.reconfigure(device=EXACT.device)
    before = model[0].get_weights()[0]
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model[0].get_weights()[0], before - 0.1)


def test_inputs_of_several_ranks_in_one_step():
    layer = AnalogLinear(4, 3, rpu_config=EXACT)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    (layer(torch.ones(4)).sum() + layer(torch.ones(2, 4)).sum() + layer(torch.ones(2, 3, 4)).sum()).backward()
    before = layer.get_weights()[0]
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before - 0.9)


def test_compiled_and_plain_models_are_freed():
    import weakref

    layer = AnalogLinear(4, 3)
    layer(torch.randn(2, 4)).sum().backward()
    alive = weakref.ref(layer.analog_module)
    del layer
    gc.collect()
    assert alive() is None
