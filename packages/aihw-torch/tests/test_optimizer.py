"""AnalogSGD: what of torch.optim.SGD reaches a tile, what does not, and what other optimizers are told."""

from __future__ import annotations

import copy
import gc
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from aihw_torch.config import ConstantStepDevice, FloatingPointDevice, FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.errors import NonFiniteError, OptimizerError
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogAdam, AnalogSGD


def exact_layer(n_in=4, n_out=2, **options):
    return AnalogLinear(n_in, n_out, rpu_config=FloatingPointRPUConfig(), **options)


def backward(layer, scale=1.0):
    """Give a layer a weight gradient of `scale` everywhere."""
    layer(torch.ones(1, layer.in_features)).backward(torch.full((1, layer.out_features), scale))


def moved(layer, optimizer):
    """Return by how much one step with a gradient of one moves the weights."""
    before = layer.get_weights()[0]
    optimizer.zero_grad()
    backward(layer)
    optimizer.step()
    change = layer.get_weights()[0] - before
    torch.testing.assert_close(change, change[0, 0].expand_as(change))
    return float(change[0, 0])


def test_the_example_of_the_readme():
    x = torch.Tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.Tensor([[1.0, 0.5], [0.7, 0.3]])
    model = AnalogLinear(4, 2)
    opt = AnalogSGD(model.parameters(), lr=0.1)
    opt.regroup_param_groups(model)
    first = mse_loss(model(x), y).item()
    for _ in range(10):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
    assert loss.item() < 0.5 * first


def test_arguments_and_groups_are_those_of_sgd():
    layer = exact_layer()
    for optimizer in (AnalogSGD(layer.parameters()), torch.optim.SGD(layer.parameters())):
        group = optimizer.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"], group["maximize"]) == (0.001, 0, 0, False)
        assert len(group["params"]) == 3
    assert isinstance(AnalogSGD(layer.parameters()), torch.optim.SGD)


def test_learning_rate_scheduler():
    layer = exact_layer()
    optimizer = AnalogSGD(layer.parameters(), lr=0.4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    changes = []
    for _ in range(3):
        changes.append(moved(layer, optimizer))
        scheduler.step()
    assert changes == pytest.approx([-0.4, -0.2, -0.1])


def test_set_learning_rate_and_groups():
    layer = exact_layer()
    optimizer = AnalogSGD(layer.parameters(), lr=0.4)
    optimizer.set_learning_rate(0.25)
    assert moved(layer, optimizer) == pytest.approx(-0.25)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.125)
    assert moved(layer, optimizer) == pytest.approx(-0.125)


def test_maximize_turns_the_pulses_around():
    layer = exact_layer()
    assert moved(layer, AnalogSGD(layer.parameters(), lr=0.1, maximize=True)) == pytest.approx(0.1)


def test_each_layer_follows_its_group():
    model = AnalogSequential(exact_layer(), exact_layer(2, 4))
    optimizer = AnalogSGD([{"params": model[0].parameters(), "lr": 0.5}, {"params": model[1].parameters()}], lr=0.125)
    optimizer.regroup_param_groups(model)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.125]
    assert moved(model[0], optimizer) == pytest.approx(-0.5)
    assert moved(model[1], optimizer) == pytest.approx(-0.125)


def test_the_group_of_the_weight_decides():
    layer = exact_layer()
    named = dict(layer.named_parameters())
    weight = named.pop("analog_module.weight")
    optimizer = AnalogSGD([{"params": [weight], "lr": 0.5}, {"params": list(named.values()), "lr": 0.125}])
    assert moved(layer, optimizer) == pytest.approx(-0.5)
    optimizer = AnalogSGD([{"params": list(named.values()), "lr": 0.125}, {"params": [weight], "lr": 0.5}])
    assert moved(layer, optimizer) == pytest.approx(-0.5)


def test_a_weight_brings_its_token_along():
    layer, other = exact_layer(), exact_layer()
    optimizer = AnalogSGD([layer.weight], lr=0.5)
    assert moved(layer, optimizer) == pytest.approx(-0.5)
    optimizer.add_param_group({"params": [other.weight], "lr": 0.25})
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    assert moved(other, optimizer) == pytest.approx(-0.25)
    optimizer = AnalogSGD([("b", layer.bias), ("w", layer.weight)], lr=0.5)
    assert optimizer.param_groups[0]["param_names"] == ["b", "w", "w_token"]


def test_a_token_is_enough():
    layer = exact_layer()
    optimizer = AnalogSGD([p for p in layer.parameters() if p.requires_grad], lr=0.5)
    assert moved(layer, optimizer) == pytest.approx(-0.5)


def test_closure():
    layer = exact_layer()
    optimizer = AnalogSGD(layer.parameters(), lr=0.5)
    before = layer.get_weights()[0]

    def closure():
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 4)).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    torch.testing.assert_close(loss.detach(), before.sum() + layer.bias.detach().sum() + 2 * 0.5)
    torch.testing.assert_close(layer.get_weights()[0], before - 0.5)


def test_a_learning_rate_of_zero_discards():
    layer = exact_layer()
    before = layer.get_weights()[0]
    optimizer = AnalogSGD(layer.parameters(), lr=0.0)
    backward(layer)
    optimizer.step()
    optimizer.set_learning_rate(1.0)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], before, rtol=0, atol=0)


def test_a_step_without_a_record_is_one_step_of_time():
    config = FloatingPointRPUConfig(device=FloatingPointDevice(lifetime=10.0))
    layer = AnalogLinear(4, 2, rpu_config=config)
    before = layer.get_weights()[0]
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    layer.requires_grad_(False)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], 0.9 * before)
    layer.requires_grad_(True)
    backward(layer)
    optimizer.step()
    torch.testing.assert_close(layer.get_weights()[0], 0.9 * (0.9 * before - 0.1))


def test_two_optimizers_do_not_share_a_record():
    generator, critic = exact_layer(3, 4), exact_layer(4, 2)
    first, second = AnalogSGD(generator.parameters(), lr=0.1), AnalogSGD(critic.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    critic(generator(x)).sum().backward()
    before = [layer.get_weights()[0] for layer in (generator, critic)]
    first.step()
    assert not torch.equal(generator.get_weights()[0], before[0])
    torch.testing.assert_close(critic.get_weights()[0], before[1], rtol=0, atol=0)
    second.zero_grad()
    second.step()
    torch.testing.assert_close(critic.get_weights()[0], before[1], rtol=0, atol=0)


@pytest.mark.parametrize("named", [True, False])
def test_options_that_do_not_reach_a_tile_warn_once_and_name_it(named):
    model = AnalogSequential(exact_layer(), nn.Linear(2, 4), exact_layer())
    optimizer = AnalogSGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    if named:
        optimizer.regroup_param_groups(model)
    backward(model[0])
    with pytest.warns(UserWarning, match="momentum, weight_decay") as caught:
        optimizer.step()
    assert len(caught) == 1
    text = str(caught[0].message)
    assert ("0.analog_module" in text and "2.analog_module" in text) if named else "analog tile of 2 x 4" in text
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moved(model[0], optimizer) == pytest.approx(-0.5)
        assert moved(model[0], optimizer) == pytest.approx(-0.5)


def test_names_given_to_the_optimizer_are_used():
    model = AnalogSequential(exact_layer())
    optimizer = AnalogSGD(model.named_parameters(), lr=0.5, momentum=0.9)
    with pytest.warns(UserWarning, match=r"0\.analog_module"):
        optimizer.step()


def test_options_of_digital_groups_do_not_warn():
    model = AnalogSequential(exact_layer(), nn.Linear(2, 2))
    AnalogSGD([{"params": model[0].parameters()}, {"params": model[1].parameters(), "momentum": 0.9}], lr=0.1).step()


SGD_OPTIONS = [{"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}, {"fused": True}, {}]
ADAM_OPTIONS = [{}, {"weight_decay": 0.1}, {"amsgrad": True}, {"foreach": True}, {"fused": True}]


@pytest.mark.parametrize(
    ("cls", "analog_cls", "options"),
    [
        *((torch.optim.SGD, AnalogSGD, options) for options in SGD_OPTIONS),
        *((torch.optim.Adam, AnalogAdam, options) for options in ADAM_OPTIONS),
    ],
)
def test_digital_parameters_train_as_with_torch(cls, analog_cls, options):
    torch.manual_seed(0)
    plain = nn.Linear(4, 3)
    analog = copy.deepcopy(plain)
    optimizers = cls(plain.parameters(), lr=0.1, **options), analog_cls(analog.parameters(), lr=0.1, **options)
    for _ in range(5):
        x = torch.randn(6, 4)
        for model, optimizer in zip((plain, analog), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(analog.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_hooks_run_once():
    torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1).step()  # torch wraps the step of SGD now at the latest
    optimizer, calls = AnalogSGD(exact_layer().parameters(), lr=0.1), []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    optimizer.step()
    assert calls == ["pre", "post"]


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.LBFGS])
def test_other_optimizers_say_what_to_use(make):
    layer = exact_layer()
    optimizer = make(layer.parameters(), lr=0.1)
    backward(layer)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(OptimizerError, match="AnalogSGD") as caught:
        optimizer.step(lambda: 0.0)
    assert ("AnalogOptimizer" in str(caught.value)) == (make is not torch.optim.LBFGS)  # which it refuses to wrap
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_other_optimizers_may_train_the_rest_of_a_frozen_network():
    model = AnalogSequential(exact_layer(), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    before = model[1].weight.detach().clone()
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[1].weight, before)


def test_a_gradient_that_is_not_finite_is_refused_before_anything_changes():
    model = AnalogSequential(nn.Linear(4, 4), exact_layer(), exact_layer(2, 2))
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    (model(torch.randn(3, 4)) * torch.nan).sum().backward()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NonFiniteError, match="zero_grad"):
        optimizer.step()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    optimizer.zero_grad()
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(weight).all() for weight, _ in model.get_weights().values())


def test_a_deleted_layer_leaves_its_optimizer_working():
    layers = [exact_layer(), exact_layer()]
    optimizer = AnalogSGD([p for layer in layers for p in layer.parameters()], lr=0.5)
    del layers[0]
    gc.collect()
    assert moved(layers[0], optimizer) == pytest.approx(-0.5)


def test_layers_are_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        layer = AnalogLinear(4, 2)
        optimizer = AnalogSGD(layer.parameters(), lr=0.1)
        backward(layer)
        optimizer.step()
        alive = layer.weight
        del layer
        assert alive.analog_tile is None
    finally:
        gc.enable()


def test_pulses_move_the_weights_by_the_learning_rate_on_average():
    # 40 x 50 cells, one sample with x = d = 1 and lr = 0.1: the expected change is -0.1 per cell, made of 100 pulses of
    # 0.001 +- 30 % from device to device (and +- 30 % from pulse to pulse), in trains of at most 31 slots, all firing.
    # So each cell gets 31 pulses: -0.031, with a device spread of 30 %, and the mean over 2000 cells is known to
    # 0.031 * 0.3 / sqrt(2000) = 0.00021; 5 of them fail by chance with a probability of 6e-7.
    config = SingleRPUConfig(device=ConstantStepDevice(w_max=10.0, w_min=-10.0))
    layer = AnalogLinear(50, 40, rpu_config=config)
    before = layer.get_weights()[0]
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    backward(layer)
    optimizer.step()
    change = layer.get_weights()[0] - before
    assert abs(float(change.mean()) + 0.031) < 5 * 0.00021
    assert layer.analog_module.pulse_counts == (0, 31 * 2000)
