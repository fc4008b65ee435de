"""Hardware-aware training: what a training forward computes, and its gradients."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hwa_examples import hwa_config, layer_of, noisy_config, twin_of
from torch import nn

import rpu_sim
from aihw_torch.config import (
    BoundManagementType,
    NoiseManagementType,
    TorchInferenceRPUConfig,
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from aihw_torch.errors import ConfigError
from aihw_torch.inference import InferenceTile
from aihw_torch.inference.reading import Reading
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from rpu_sim.weight_ops import clip_weights, modify_weights, remap_weights

MODIFIERS = [kind for kind in WeightModifierType if kind not in (WeightModifierType.NONE, WeightModifierType.COPY)]


@pytest.mark.parametrize("scaled", [False, True], ids=["unscaled", "scaled"])
def test_without_flaws_it_is_a_linear_layer(scaled: bool) -> None:
    """Outputs and all gradients, with mapping scales that must cancel."""
    config = hwa_config()
    config.mapping.weight_scaling_omega = 0.7 if scaled else 0.0
    config.mapping.weight_scaling_columnwise = scaled
    layer = layer_of(config)
    twin = twin_of(layer)
    x = torch.randn(4, 2, 5, requires_grad=True)
    x_twin = x.detach().clone().requires_grad_()
    d = torch.randn(4, 2, 3)
    y, expected = layer(x), twin(x_twin)
    torch.testing.assert_close(y, expected)
    y.backward(d)
    expected.backward(d)
    torch.testing.assert_close(x.grad, x_twin.grad)
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)
    torch.testing.assert_close(layer.bias.grad, twin.bias.grad)


def test_both_configurations_are_one_implementation() -> None:
    assert isinstance(layer_of(TorchInferenceRPUConfig()).analog_module, InferenceTile)
    assert isinstance(layer_of(hwa_config()).analog_module, InferenceTile)


@pytest.mark.parametrize("kind", MODIFIERS, ids=lambda kind: kind.name)
def test_every_modifier_draws_a_copy_in_every_training_forward(kind: WeightModifierType) -> None:
    """The copy is that of rpu_sim.weight_ops at the step of the call, bit for bit; the backward pass uses the same."""
    config = hwa_config()
    config.modifier.type, config.modifier.std_dev, config.modifier.res = kind, 0.2, 0.1
    config.modifier.pdrop, config.modifier.sto_round = 0.2, True
    layer = layer_of(config, bias=False)
    tile = layer.analog_module
    copies = [modify_weights(layer.weight.detach(), config.modifier, seed=tile.seed, step=step) for step in range(3)]
    assert not torch.equal(copies[0], copies[1])
    for step in range(3):
        x, d = torch.randn(4, 5, requires_grad=True), torch.randn(4, 3)
        layer.weight.grad = None
        y = layer(x)
        torch.testing.assert_close(y, x @ copies[step].T)
        y.backward(d)
        torch.testing.assert_close(x.grad, d @ copies[step])
        torch.testing.assert_close(layer.weight.grad, d.T @ x.detach())
    layer.eval()
    torch.testing.assert_close(layer(x), x @ layer.weight.T)


def test_a_modifier_in_evaluation_on_request() -> None:
    config = hwa_config()
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.2
    config.modifier.enable_during_test = True
    layer = layer_of(config, bias=False).eval()
    x = torch.randn(4, 5)
    copy_ = modify_weights(layer.weight.detach(), config.modifier, seed=layer.analog_module.seed, step=0)
    torch.testing.assert_close(layer(x), x @ copy_.T)


def test_one_copy_for_each_sample() -> None:
    config = hwa_config()
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.2
    config.modifier.per_batch_sample = True
    layer = layer_of(config, bias=False)
    copies = modify_weights(layer.weight.detach(), config.modifier, seed=layer.analog_module.seed, step=0, samples=6)
    x, d = torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 3, 3)
    y = layer(x)
    y.backward(d)
    torch.testing.assert_close(y, torch.einsum("noi,ni->no", copies, x.view(6, 5)).view(2, 3, 3))
    torch.testing.assert_close(x.grad, torch.einsum("no,noi->ni", d.view(6, 3), copies).view(2, 3, 5))
    torch.testing.assert_close(layer.weight.grad, d.view(6, 3).T @ x.detach().view(6, 5))


def test_the_order_is_clip_remap_modify() -> None:
    """The stored weight is the clipped one, the scales are those of the clipped weight, the noise comes last."""
    config = hwa_config()
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.5
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    layer = layer_of(config, bias=False)
    start = torch.randn(3, 5)
    layer.set_weights(start)
    x = torch.randn(4, 5)
    y = layer(x)
    clipped = clip_weights(start, config.clip)
    physical, scales = remap_weights(clipped, torch.ones(3), config.remap)
    copy_ = modify_weights(physical, config.modifier, seed=layer.analog_module.seed, step=0)
    torch.testing.assert_close(layer.weight.detach(), clipped)
    torch.testing.assert_close(layer.analog_module.mapping_scales, scales)
    torch.testing.assert_close(y, (x @ copy_.T) * scales)
    assert physical.abs().amax(1).tolist() == [1.0, 1.0, 1.0]


def test_clip_passes_gradients_and_holds_the_weight_after_every_step() -> None:
    config = hwa_config()
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.1
    layer = layer_of(config, bias=False)
    layer.set_weights(torch.full((3, 5), 0.1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    x = torch.ones(1, 5)
    (-layer(x).sum()).backward()
    assert (layer.weight.grad == -1.0).all()  # although every weight is at the bound
    optimizer.step()
    assert (layer.weight > 1.0).all()
    layer.eval()  # evaluation after the last step sees clipped weights as well
    torch.testing.assert_close(layer(x), torch.full((1, 3), 0.5))
    assert (layer.weight == 0.1).all()


def test_remap_every_k_forwards_and_on_request() -> None:
    config = hwa_config(remap_every=3)
    config.remap.type = WeightRemapType.LAYERWISE_SYMMETRIC
    layer = layer_of(config, bias=False)
    tile, scales = layer.analog_module, []
    for factor in (1.0, 2.0, 4.0, 8.0):
        layer.set_weights(torch.full((3, 5), factor))
        layer(torch.randn(1, 5))
        scales.append(tile.mapping_scales[0].item())
    assert scales == [1.0, 1.0, 1.0, 8.0]
    layer.set_weights(torch.full((3, 5), 3.0))
    before = layer.weight.detach().clone()
    tile.remap_to_range()
    assert tile.mapping_scales.tolist() == [3.0, 3.0, 3.0]
    assert torch.equal(layer.weight, before)
    layer.eval()
    layer.set_weights(torch.full((3, 5), 5.0))
    layer(torch.randn(1, 5))
    assert tile.mapping_scales[0] == 3.0  # evaluation changes nothing


def test_an_output_at_the_bound_of_the_adc_has_no_gradient() -> None:
    config = noisy_config()
    config.forward.out_noise, config.forward.out_bound = 0.0, 1.0
    config.modifier.type, config.clip.type = WeightModifierType.NONE, WeightClipType.NONE
    layer = layer_of(config, bias=False)
    layer.set_weights(torch.tensor([[1.0] * 5, [0.01] * 5, [-1.0] * 5]))
    layer.analog_module.set_input_range(1.0)
    layer.analog_module.reconfigure(pre_post=_without_init(config))
    layer(torch.full((1, 5), 0.9)).sum().backward()
    assert (layer.weight.grad != 0.0).any(1).tolist() == [False, False, False]  # remapped, every row reaches 4.5
    layer.weight.grad = None
    layer(torch.full((1, 5), 0.1)).sum().backward()
    assert (layer.weight.grad != 0.0).all(1).tolist() == [True, True, True]


def _without_init(config):
    pre_post = copy.deepcopy(config.pre_post)
    pre_post.input_range.init_from_data = 0
    return pre_post


def test_the_input_range_learns_by_its_exact_gradient() -> None:
    """With exact reads the layer is r W clip(x / r): finite differences in float64 give the derivative to 1e-6."""
    config = hwa_config()
    config.pre_post.input_range.enable, config.pre_post.input_range.decay = True, 0.0
    config.pre_post.input_range.init_from_data = 0
    layer = layer_of(config, bias=False)
    layer.analog_module.set_input_range(0.8)
    x, d = torch.randn(50, 5), torch.randn(50, 3)
    (layer(x) * d).sum().backward()

    def loss(r: float) -> float:
        y = torch.clamp(x.double(), -r, r) @ layer.weight.detach().double().T
        return float((y * d.double()).sum())

    expected = (loss(0.8 + 1e-6) - loss(0.8 - 1e-6)) / 2e-6
    assert layer.analog_module.input_range.grad.item() == pytest.approx(expected, rel=1e-4)


def test_output_noise_of_training_and_evaluation() -> None:
    """The spread of 4e4 outputs at zero input is out_noise; 5 sigma of a spread are 5 / sqrt(2 n)."""
    config = hwa_config(perfect=False)
    config.forward.out_noise, config.forward.out_res = 0.3, -1.0
    config.forward.noise_management, config.forward.bound_management = (
        NoiseManagementType.NONE,
        BoundManagementType.NONE,
    )
    layer = layer_of(config, out=40, bias=False)
    for mode in (True, False):
        layer.train(mode)
        first, second = layer(torch.zeros(1000, 5)).detach(), layer(torch.zeros(1000, 5)).detach()
        assert not torch.equal(first, second)
        assert first.std().item() == pytest.approx(0.3, rel=5 / math.sqrt(2 * first.numel()))


def test_the_converters_are_those_of_a_tile() -> None:
    """The product is the forward of rpu_sim.Tile with the same weights, chain, seed and step, bit for bit."""
    config = hwa_config(perfect=False)
    layer = layer_of(config, bias=False)
    tile = rpu_sim.Tile(3, 5, rpu_sim.config.SingleRPUConfig(device=rpu_sim.config.IdealDevice()), seed=7)
    tile.weights[...] = layer.weight.detach().numpy()
    layer.analog_module.seed = 7
    x = torch.randn(6, 5)
    for step in range(2):
        assert torch.equal(layer(x).detach(), tile.forward(x, step=step))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW])
def test_any_optimizer_trains_with_everything_on(optimizer: type[torch.optim.Optimizer]) -> None:
    """A regression on two layers: the loss falls to less than a fifth within 150 steps, clipped and noisy as it is."""
    torch.manual_seed(3)
    model = AnalogSequential(
        AnalogLinear(6, 16, True, noisy_config(), seed=1), nn.Tanh(), AnalogLinear(16, 2, True, noisy_config(), seed=2)
    )
    x = torch.randn(64, 6)
    target = torch.tanh(x @ torch.randn(6, 2)) * 0.5
    steps = optimizer(model.parameters(), lr=0.3 if optimizer is torch.optim.SGD else 0.01)
    losses = []
    for _ in range(150):
        steps.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.2 * sum(losses[:3]) * 10 / 3
    for tile in model.analog_tiles():
        assert tile.input_range.grad is not None


def test_equal_seeds_train_equally_and_copies_go_on_equally() -> None:
    def trained(model: nn.Module, steps: int) -> torch.Tensor:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        return model.weight.detach().clone()

    x = torch.randn(8, 5)
    torch.manual_seed(0)
    first = layer_of(noisy_config())
    torch.manual_seed(0)
    second = layer_of(noisy_config())
    assert torch.equal(trained(first, 3), trained(second, 3))
    for twin in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert torch.equal(trained(copy.deepcopy(first), 2), trained(twin, 2))


def test_a_state_continues_bit_for_bit() -> None:
    x = torch.randn(8, 5)
    layer, other = layer_of(noisy_config()), layer_of(noisy_config(), seed=99)
    layer(x).sum().backward()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))


# torch's compiler itself makes an object of torch.autograd.Function, about which torch warns
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_compiled_it_gives_the_same(training: bool) -> None:
    layer = layer_of(noisy_config()).train(training)
    layer.analog_module.reconfigure(pre_post=_without_init(noisy_config()))
    if not training:
        layer.drift_analog_weights(3600.0)
    eager, compiled = copy.deepcopy(layer), torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 5)
    for _ in range(2):
        results = []
        for model in (eager, compiled):
            inputs = x.clone().requires_grad_()
            y = model(inputs)
            y.square().sum().backward()
            results.append((y.detach(), inputs.grad))
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    if training:
        torch.testing.assert_close(eager.weight.grad, layer.weight.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(eager.analog_module.mapping_scales, layer.analog_module.mapping_scales)


def test_convolutions_and_grids_need_nothing_more() -> None:
    config = noisy_config()
    config.mapping.max_input_size = 8
    model = AnalogSequential(AnalogConv2d(2, 3, 3, rpu_config=config, seed=1))
    assert len(list(model.analog_tiles())) == 3
    model(torch.randn(2, 2, 6, 6)).sum().backward()
    assert all(tile.weight.grad is not None for tile in model.analog_tiles())


def test_bad_configurations() -> None:
    with pytest.raises(ConfigError, match="remap_every must not be negative"):
        layer_of(hwa_config(remap_every=-1))
    with pytest.raises(ConfigError, match="drift_compensation must be"):
        layer_of(hwa_config(drift_compensation="global"))
    with pytest.raises(ConfigError, match="noise_model"):
        layer_of(hwa_config(noise_model=None))
    with pytest.raises(ConfigError, match="needs an InferenceRPUConfig"):
        InferenceTile(3, 5, rpu_sim.config.SingleRPUConfig())


def test_the_operations_are_what_torch_expects() -> None:
    """Fake kernels, autograd registration and aliasing, by torch's own checks."""
    config = noisy_config()
    reading = Reading(config.forward, config.mapping, modifier=config.modifier)
    w, seed, step = torch.randn(3, 5, requires_grad=True), torch.tensor(7), torch.tensor(2)
    torch.library.opcheck(torch.ops.aihw.read_copy.default, (w, seed, step, 4, 0, reading.description))
    x = torch.randn(4, 5, requires_grad=True)
    torch.library.opcheck(torch.ops.aihw.inference_mvm.default, (x, w, [], seed, step, 0, reading.description))


@pytest.mark.parametrize("ranged", [False, True], ids=["", "input_range"])
def test_a_bias_on_the_array(ranged: bool) -> None:
    """One more column, driven by 1 also in units of an input range; it is programmed with the rest."""
    config = hwa_config()
    config.mapping.digital_bias, config.mapping.weight_scaling_omega = False, 1.0
    ranges = config.pre_post.input_range
    ranges.enable, ranges.init_from_data, ranges.init_value = ranged, 0, 10.0
    layer, x = layer_of(config), torch.randn(4, 5)
    weight, bias = layer.get_weights()
    y = layer(x)
    torch.testing.assert_close(y, x @ weight.T + bias)
    y.sum().backward()
    torch.testing.assert_close(layer.analog_module.weight.grad[:, -1], torch.full((3,), 4.0))
    layer.eval().drift_analog_weights(100.0)
    read = layer.analog_module.read_programmed()
    torch.testing.assert_close(layer(x), x @ read[:, :-1].T + read[:, -1], rtol=1e-4, atol=1e-5)


def test_an_input_that_torch_negates_late() -> None:
    """A view whose sign torch only changes when it is read: the core must not see what lies in memory."""
    layer = layer_of(hwa_config()).eval()
    x = torch.complex(torch.zeros(4, 5), torch.randn(4, 5)).conj().imag
    assert x.is_neg()
    torch.testing.assert_close(layer(x), twin_of(layer)(x.clone()))
