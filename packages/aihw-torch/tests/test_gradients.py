"""The record acts as the gradient that nn.Linear has: accumulation, zero_grad, clipping, scaling, freezing, sharing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from aihw_torch.config import FloatingPointRPUConfig, IOParameters, SingleRPUConfig
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.record import gradient_norm


class Pair:
    """An exact analog network beside its digital twin, each with its optimizer."""

    def __init__(self, config, lr=0.1, **options):
        self.analog = AnalogSequential(
            AnalogLinear(5, 4, rpu_config=config), nn.Tanh(), AnalogLinear(4, 3, rpu_config=config)
        )
        self.digital = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        for i in (0, 2):
            weight, bias = self.analog[i].get_weights()
            self.digital[i].load_state_dict({"weight": weight, "bias": bias})
        self.models = (self.analog, self.digital)
        self.optimizers = (
            AnalogSGD(self.analog.parameters(), lr, **options),
            torch.optim.SGD(self.digital.parameters(), lr, **options),
        )

    def both(self, do):
        """Call do(model, optimizer) for both."""
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            do(model, optimizer)

    def backward(self, x, scale=1.0):
        """Add the gradients of a loss to those of both networks."""
        for model in self.models:
            (scale * model(x).square().mean()).backward()

    def step(self):
        """Let both optimizers do a step."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, **options):
        """Discard the gradients of both."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(**options)

    def check(self, **tolerance):
        """Assert that both networks have the same weights and biases."""
        for i in (0, 2):
            weight, bias = self.analog[i].get_weights()
            torch.testing.assert_close(weight, self.digital[i].weight.data, **tolerance)
            torch.testing.assert_close(bias, self.digital[i].bias.data, **tolerance)


def batch(samples=6):
    return torch.randn(samples, 5)


def test_training_is_that_of_the_digital_network(exact):
    pair = Pair(exact)
    for _ in range(20):
        pair.zero_grad()
        pair.backward(batch())
        pair.step()
    pair.check()


@pytest.mark.parametrize(("samples", "n_in", "n_out"), [(1, 5, 3), (2, 40, 30), (64, 5, 3), (17, 34, 34), (0, 4, 3)])
def test_gradient_norm_is_the_frobenius_norm(samples, n_in, n_out):
    x, d = torch.randn(samples, n_in), torch.randn(samples, n_out)
    torch.testing.assert_close(gradient_norm(x, d), (d.T @ x).norm().view(1))


def test_gradient_norm_of_samples_that_cancel_is_not_nan():
    x, d = torch.randn(1, 40).repeat(2, 1), torch.randn(1, 40)
    assert float(gradient_norm(x, torch.cat([d, -d]))) < 1e-3 * float(x.norm() * d.norm())


def test_the_token_has_the_norm_of_the_weight_gradient(exact):
    pair = Pair(exact)
    pair.backward(batch())
    for i in (0, 2):
        token = pair.analog[i].analog_module.weight_token
        torch.testing.assert_close(token.grad, pair.digital[i].weight.grad.norm().view(1))


def test_a_second_backward_adds(exact):
    pair = Pair(exact)
    for _ in range(3):
        pair.backward(batch())
    pair.step()
    pair.check()


def test_a_second_backward_through_the_same_graph_adds(exact):
    pair, x = Pair(exact), batch()
    for model in pair.models:
        loss = model(x).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
    pair.step()
    pair.check()


def test_micro_batches_give_the_same_bits_as_the_whole_batch():
    def train(parts):
        torch.manual_seed(1)
        layer = AnalogLinear(5, 3, bias=False)
        optimizer = AnalogSGD(layer.parameters(), lr=0.1)
        for x, d in zip(
            torch.linspace(-1, 1, 40).view(8, 5).chunk(parts),
            torch.linspace(1, -1, 24).view(8, 3).chunk(parts),
            strict=True,
        ):
            layer(x).backward(d)
        optimizer.step()
        return layer.get_weights()[0]

    torch.testing.assert_close(train(4), train(1), rtol=0, atol=0)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_discards(exact, set_to_none):
    pair = Pair(exact)
    pair.backward(batch())
    pair.zero_grad(set_to_none=set_to_none)
    pair.step()
    pair.check(rtol=0, atol=0)
    pair.backward(100.0 * batch())
    pair.zero_grad(set_to_none=set_to_none)
    pair.backward(batch())
    pair.step()
    pair.check()
    assert all(len(tile.record) == 0 for tile in pair.analog.analog_tiles())


def test_zero_grad_of_the_module_discards(exact):
    pair = Pair(exact)
    pair.backward(batch())
    pair.both(lambda model, _: model.zero_grad())
    pair.backward(batch())
    pair.step()
    pair.check()


def test_the_step_uses_the_record_up(exact):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(batch()).sum().backward()
    optimizer.step()
    weight = layer.get_weights()[0]
    assert layer.analog_module.weight_token.grad is None
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], weight, rtol=0, atol=0)
    # A loop without zero_grad trains the tile with each gradient once.
    x = batch()
    layer(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], weight - 0.1 * torch.ones(3, 6) @ x)


def test_several_uses_in_one_step_add_up(exact):
    layer = AnalogLinear(4, 4, rpu_config=exact)
    twin = nn.Linear(4, 4)
    twin.load_state_dict(dict(zip(("weight", "bias"), layer.get_weights(), strict=True)))
    x = torch.randn(3, 2, 4)
    for model, optimizer in (
        (layer, AnalogSGD(layer.parameters(), 0.1)),
        (twin, torch.optim.SGD(twin.parameters(), 0.1)),
    ):
        h = torch.tanh(model(x))  # a use with three dimensions, and two more with two
        (model(h[0]) + model(torch.tanh(model(h[1])))).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], twin.weight.data)
    torch.testing.assert_close(layer.get_weights()[1], twin.bias.data)


def test_a_layer_in_two_places_of_a_model_is_one_layer(exact):
    layer = AnalogLinear(4, 4, rpu_config=exact)
    model = AnalogSequential(layer, nn.Tanh(), layer)
    assert len(list(model.parameters())) == 3
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    model(torch.randn(3, 4)).sum().backward()
    assert len(layer.analog_module.record) == 6
    optimizer.step()
    assert len(layer.analog_module.record) == 0


# ---- what changes gradients between the backward pass and the step


def test_norm_clipping(exact):
    pair = Pair(exact)
    pair.backward(100.0 * batch())
    norms = [nn.utils.clip_grad_norm_(model.parameters(), 0.5) for model in pair.models]
    torch.testing.assert_close(*norms)
    assert norms[0] > 0.5
    pair.step()
    pair.check()


def test_value_clipping_limits_the_norm_of_the_weight_gradient(exact):
    layer = AnalogLinear(5, 3, False, exact)
    before, x = layer.get_weights()[0], 10.0 * batch()
    layer(x).sum().backward()
    nn.utils.clip_grad_value_(layer.parameters(), 0.25)
    AnalogSGD(layer.parameters(), lr=1.0).step()
    gradient = torch.ones(3, 6) @ x
    torch.testing.assert_close(before - layer.get_weights()[0], 0.25 * gradient / gradient.norm())


@pytest.mark.parametrize("factor", [0.5, -2.0])
def test_gradients_multiplied_by_hand(exact, factor):
    pair = Pair(exact)
    pair.backward(batch())
    pair.both(lambda model, _: [p.grad.mul_(factor) for p in model.parameters() if p.grad is not None])
    pair.step()
    pair.check()


def test_grad_scaler_scales_and_unscales(exact):
    pair = Pair(exact)
    for _ in range(5):
        pair.zero_grad()
        x = batch()
        for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
            scaler.scale(model(x).square().mean()).backward()
            scaler.step(optimizer)
    pair.check()


def test_grad_scaler_with_clipping_and_accumulation(exact):
    pair = Pair(exact)
    inputs = [batch(), batch()]
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for x in inputs[:1]:
            scaler.scale(model(x).square().mean()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        scaler.step(optimizer)
    pair.check()


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_skips_an_overflow_and_the_record_with_it(exact, fused):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = layer.get_weights()
    scaler.scale((layer(batch()) * torch.inf).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    torch.testing.assert_close(layer.get_weights(), before, rtol=0, atol=0)
    optimizer.zero_grad()
    x = batch()
    scaler.scale(layer(x).sum()).backward()
    scaler.step(optimizer)
    torch.testing.assert_close(layer.get_weights()[0], before[0] - 0.1 * torch.ones(3, 6) @ x)


def test_an_overflow_reaches_the_layers_before():
    first, second = AnalogLinear(5, 4), AnalogLinear(4, 3)
    (second(first(batch())) * torch.inf).sum().backward()
    assert not torch.isfinite(first.analog_module.weight_token.grad).any()
    assert not torch.isfinite(first.bias.grad).any()


# ---- what must not learn


def test_a_frozen_layer_in_the_middle_does_not_learn(exact, monkeypatch):
    pair = Pair(exact)
    model = AnalogSequential(nn.Linear(5, 5), pair.analog)
    pair.analog[0].requires_grad_(False)
    pair.digital[0].requires_grad_(False)
    monkeypatch.setattr(pair.analog[0].analog_module.record, "add", None)  # not even copies are made
    model(batch()).sum().backward()
    assert model[0].weight.grad.any()
    before = pair.analog[0].get_weights()
    pair.optimizers[0].step()
    torch.testing.assert_close(pair.analog[0].get_weights(), before, rtol=0, atol=0)


@pytest.mark.parametrize("freeze", ["layer", "weight", "attribute", "token"])
def test_ways_to_freeze_and_to_go_on(exact, freeze):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    before = layer.get_weights()[0]

    def set_learning(value):
        if freeze == "layer":
            layer.requires_grad_(value)
        elif freeze == "weight":
            layer.weight.requires_grad_(value)
        elif freeze == "attribute":
            layer.weight.requires_grad = value
        else:
            layer.analog_module.weight_token.requires_grad_(value)

    set_learning(False)
    x = batch().requires_grad_()
    layer(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before, rtol=0, atol=0)
    assert not layer.weight.requires_grad
    set_learning(True)
    layer(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before - 0.1 * torch.ones(3, 6) @ x.detach())


def test_gradients_of_the_input_alone_leave_no_record(exact):
    pair, probe = Pair(exact), batch().requires_grad_()
    x = batch()
    pair.backward(x)
    for model in pair.models:
        torch.autograd.grad(model(probe).sum(), probe)
    pair.backward(x)
    pair.step()
    pair.check()


def test_gradients_of_the_input_alone_hold_no_memory(exact):
    layer, probe = AnalogLinear(5, 3, rpu_config=exact), batch().requires_grad_()
    for _ in range(3):
        torch.autograd.grad(layer(probe).sum(), probe)
    assert len(layer.analog_module.record) == 0
    assert not layer.analog_module.record._passes


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, d):
        raise RuntimeError("no gradient today")


def test_a_backward_pass_that_fails_leaves_no_record(exact):
    layer = AnalogLinear(5, 5, rpu_config=exact)
    before, x = layer.get_weights()[0], batch()
    h = layer(x)  # this use is never reached, the one behind the failure is
    with pytest.raises(RuntimeError, match="no gradient today"):
        layer(_Fails.apply(h)).sum().backward()
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before - 0.1 * torch.ones(5, 6) @ x)


def test_no_grad_and_eval_leave_no_record(exact):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    with torch.no_grad():
        assert not layer(batch()).requires_grad
    with torch.inference_mode():
        layer(batch())
    assert len(layer.analog_module.record) == 0


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_records_once(exact, use_reentrant):
    pair = Pair(exact)
    x = batch().requires_grad_()
    for model in pair.models:
        # The layer is used inside of the checkpoint and outside.
        h = checkpoint(model, x, use_reentrant=use_reentrant)
        (h.square().sum() + model(x).sum()).backward()
    pair.step()
    pair.check()


def test_the_record_is_a_copy(exact):
    layer = AnalogLinear(5, 3, rpu_config=exact)
    before, x, d = layer.get_weights()[0], batch(), torch.randn(6, 3)
    expected = before - 0.1 * d.T @ x
    layer(x).backward(d)
    x.zero_()
    d.zero_()
    AnalogSGD(layer.parameters(), lr=0.1).step()
    torch.testing.assert_close(layer.get_weights()[0], expected)


def test_an_update_between_forward_and_backward_is_noticed(exact, digital_twin):
    layer = AnalogLinear(5, 5, rpu_config=exact)
    for model, optimizer in (
        (layer, AnalogSGD(layer.parameters(), lr=0.1)),
        (twin := digital_twin(layer), torch.optim.SGD(twin.parameters(), lr=0.1)),
    ):
        x = batch().requires_grad_()
        early = model(x)
        model(x).sum().backward()
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            early.sum().backward()


@pytest.mark.parametrize("duplicate", [False, True])
def test_every_write_into_the_array_is_noticed(duplicate):
    layer = AnalogLinear(5, 5)
    layer = copy.deepcopy(layer) if duplicate else layer
    tile = layer.analog_module
    for write in (
        lambda: tile.update(torch.ones(5), torch.ones(5), 0.1),
        lambda: layer.set_weights(torch.zeros(5, 5)),
        lambda: tile.set_hidden_parameters(tile.get_hidden_parameters()),
        lambda: layer.load_state_dict(layer.state_dict()),
    ):
        y = layer(batch().requires_grad_())
        write()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_second_derivatives_are_refused():
    layer, x = AnalogLinear(5, 3, rpu_config=FloatingPointRPUConfig()), batch().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_that_of_the_digital_network(exact, dtype):
    pair, x = Pair(exact), batch()
    outputs = []
    for model in pair.models:
        with torch.autocast("cpu", dtype=dtype):
            outputs.append(model(x))
        outputs[-1].float().square().mean().backward()
    assert outputs[0].dtype is outputs[1].dtype is dtype
    # The digital network rounds weights and inputs as well; eps is half a unit of the last place.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(*outputs, rtol=8 * eps, atol=8 * eps)
    pair.step()
    pair.check(rtol=8 * eps, atol=8 * eps)


def test_noisy_gradients_have_the_right_mean():
    # The noise of the backward pass is 0.06 times the largest |d|. The mean of 4000 samples has a standard error of
    # 0.06 / sqrt(4000) = 0.00095 max|d|; 5 of them fail by chance with a probability of 20 * 6e-7 for the 20 elements.
    # The spread of 0.06 max|d| is known to 1 / sqrt(8000) = 1.1 %; 5 times that is 5.6 %.
    backward = IOParameters(inp_res=-1.0, out_res=-1.0, out_noise=0.06)
    layer = AnalogLinear(20, 10, rpu_config=SingleRPUConfig(backward=backward))
    x = torch.zeros(4000, 20, requires_grad=True)
    d = torch.linspace(-2.0, 1.0, 10)
    layer(x).backward(d.expand(4000, 10))
    error = (x.grad.mean(0) - d @ layer.get_weights()[0]).abs()
    assert error.max() < 5 * 0.00095 * 2.0
    torch.testing.assert_close(x.grad.std(0), torch.full((20,), 0.06 * 2.0), rtol=0.056, atol=0)
