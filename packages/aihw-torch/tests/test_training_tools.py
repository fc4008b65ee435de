"""What users of torch do around a training loop, with nn.Linear side by side: both train alike on exact tiles."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, SequentialLR, StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.errors import OptimizerError
from aihw_torch.nn import AnalogLinear, AnalogSequential, convert_to_analog, convert_to_digital
from aihw_torch.optim import AnalogOptimizer, AnalogSGD

SCHEDULERS = {
    "step": lambda o: StepLR(o, 2, 0.5),
    "cosine": lambda o: CosineAnnealingLR(o, 6),
    "lambda": lambda o: LambdaLR(o, lambda epoch: 1.0 / (1 + epoch)),
    "sequential": lambda o: SequentialLR(o, [StepLR(o, 1, 0.5), CosineAnnealingLR(o, 3)], [2]),
    "plateau": lambda o: ReduceLROnPlateau(o, patience=0),
    "cycle": lambda o: OneCycleLR(o, 0.2, total_steps=6, cycle_momentum=False),
}


def digital_model():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def pair(make=torch.optim.SGD, make_analog=AnalogSGD, lr=0.1, **options):
    """Return ((analog model, optimizer), (digital model, optimizer)) with the same values."""
    digital = digital_model()
    analog = convert_to_analog(digital, FloatingPointRPUConfig())
    return (analog, make_analog(analog.parameters(), lr=lr, **options)), (
        digital,
        make(digital.parameters(), lr=lr, **options),
    )


def batches(steps=6):
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        yield torch.randn(4, 5, generator=generator), torch.randn(4, 3, generator=generator)


def assert_alike(analog, digital):
    for ours, theirs in zip(convert_to_digital(analog).parameters(), digital.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def both(setups, loop):
    for model, optimizer in setups:
        loop(model, optimizer)
    assert_alike(setups[0][0], setups[1][0])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(name):
    def loop(model, optimizer):
        scheduler = SCHEDULERS[name](optimizer)
        for x, y in batches():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The epoch parameter in `scheduler.step")  # of SequentialLR
                scheduler.step(loss.detach()) if name == "plateau" else scheduler.step()

    both(pair(), loop)


def test_groups_freezing_and_unfreezing():
    digital = digital_model()
    analog = convert_to_analog(digital, FloatingPointRPUConfig())

    def loop(model, make):
        first, last = model[0], model[2]
        groups = [{"params": first.parameters(), "lr": 0.2}, {"params": last.parameters()}]
        optimizer = make(groups, lr=0.05)
        for number, (x, y) in enumerate(batches()):
            last.requires_grad_(number < 2 or number > 3)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()

    loop(analog, AnalogSGD)
    loop(digital, torch.optim.SGD)
    assert_alike(analog, digital)


@pytest.mark.parametrize("foreach", [True, False])
def test_accumulation_clipping_and_scaling_together(foreach):
    def loop(model, optimizer):
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
        for x, y in batches():
            optimizer.zero_grad()
            for part_x, part_y in zip(x.chunk(2), y.chunk(2), strict=True):
                scaler.scale(nn.functional.mse_loss(model(part_x), part_y) / 2).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.3, foreach=foreach)
            scaler.step(optimizer)
            scaler.update()

    both(pair(), loop)


def test_several_optimizers_and_a_shared_layer():
    def loop(model, make):
        shared, head, other = model
        optimizers = make(shared.parameters(), lr=0.1), make([*head.parameters(), *other.parameters()], lr=0.2)
        for x, y in batches():
            for optimizer in optimizers:
                optimizer.zero_grad()
            hidden = torch.tanh(shared(x))
            loss = nn.functional.mse_loss(head(hidden), y) + other(torch.tanh(shared(x + 1.0))).square().mean()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()

    torch.manual_seed(3)
    digital = nn.ModuleList([nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 2)])
    analog = convert_to_analog(digital, FloatingPointRPUConfig(), ensure_analog_root=False)
    loop(digital, torch.optim.SGD)
    loop(analog, AnalogSGD)
    assert_alike(analog, digital)


def test_averages_of_weights_can_be_read():
    digital = digital_model()
    analog = convert_to_analog(digital, FloatingPointRPUConfig())
    kept = []
    for model, make in ((analog, AnalogSGD), (digital, torch.optim.SGD)):
        optimizer, mean, ema = make(model.parameters(), lr=0.1), {}, {}
        decay = get_ema_multi_avg_fn(0.5)
        for number, (x, y) in enumerate(batches()):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            weights = [p.detach().clone() for n, p in model.named_parameters() if n.endswith("weight")]
            if number == 0:
                mean, ema = [w.clone() for w in weights], [w.clone() for w in weights]
            else:
                torch._foreach_lerp_(mean, weights, 1.0 / (number + 1))
                decay(ema, weights, number)
        kept.append(mean + ema)
    torch.testing.assert_close(*kept, rtol=1e-5, atol=1e-6)


def test_swa_keeps_a_model_of_its_own():
    (analog, optimizer), _ = pair()
    average = AveragedModel(analog)
    for x, y in batches():
        optimizer.zero_grad()
        nn.functional.mse_loss(analog(x), y).backward()
        optimizer.step()
        average.update_parameters(analog)
    mean = average.module[0].weight
    assert mean.data_ptr() == average.module[0].analog_module.tile.weights.data_ptr() != analog[0].weight.data_ptr()
    assert not torch.equal(mean, analog[0].weight)
    average(torch.randn(2, 5))


def test_weights_can_be_written_in_place():
    (analog, _), (digital, _) = pair()
    with torch.no_grad():
        for model in (analog, digital):
            model[0].weight.mul_(0.5)
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector([model[2].weight]) + 1.0, [model[2].weight]
            )
            nn.init.constant_(model[2].bias, 2.0)
    assert_alike(analog, digital)


# ---- other optimizers


CLASSES = [torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.SGD, torch.optim.NAdam]


@pytest.mark.parametrize("cls", CLASSES)
def test_any_optimizer_beside_pulses(cls):
    """Tiles as with AnalogSGD, digital parameters as with the class itself."""
    analog = AnalogSequential(nn.Linear(5, 4), AnalogLinear(4, 3, rpu_config=FloatingPointRPUConfig()))
    twin = nn.Sequential(copy.deepcopy(analog[0]), analog[1].to_digital())
    optimizer = AnalogOptimizer(cls, analog.parameters(), lr=0.05)
    assert isinstance(optimizer, cls)
    assert isinstance(optimizer, AnalogOptimizer)
    digital = cls([*twin[0].parameters(), twin[1].bias], lr=0.05)
    pulses = torch.optim.SGD([twin[1].weight], lr=0.05)
    for number, (x, y) in enumerate(batches()):
        for model, steps in ((analog, (optimizer,)), (twin, (digital, pulses))):
            model.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            for each in steps:
                if number == 0 and each is optimizer and cls is not torch.optim.SGD:
                    with pytest.warns(UserWarning, match=f"step rule of {cls.__name__}.*analog tile of 3 x 4"):
                        each.step()
                else:
                    each.step()
    torch.testing.assert_close(analog[1].get_weights()[0], twin[1].weight.data)
    torch.testing.assert_close(analog[1].bias, twin[1].bias)
    torch.testing.assert_close(analog[0].state_dict(), twin[0].state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_wrapped_optimizers_can_be_copied_and_resumed(duplicate):
    model = AnalogSequential(nn.Linear(5, 4), AnalogLinear(4, 3, rpu_config=SingleRPUConfig()))
    optimizer = AnalogOptimizer(torch.optim.AdamW, model.parameters(), lr=0.05)

    def train(model, optimizer):
        for x, y in batches(3):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optimizer.step()

    train(model, optimizer)
    twin, twin_optimizer = duplicate((model, optimizer))
    assert type(twin_optimizer) is type(optimizer)
    resumed = AnalogOptimizer(torch.optim.AdamW, (other := copy.deepcopy(model)).parameters(), lr=0.3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in ((model, optimizer), (twin, twin_optimizer), (other, resumed)):
        train(*each)
    torch.testing.assert_close(twin.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_an_optimizer_that_evaluates_several_times_is_refused():
    with pytest.raises(OptimizerError, match="LBFGS"):
        AnalogOptimizer(torch.optim.LBFGS, [nn.Parameter(torch.zeros(1))])


def test_plain_optimizers_train_weights_that_live_in_software():
    """Hardware-aware tiles hang on no optimizer: any of torch does, also inside of loops of other libraries."""
    from aihw_torch.tiles import WeightTile

    digital = digital_model()
    analog = convert_to_analog(digital, SingleRPUConfig(tile_class=WeightTile))
    both(
        (
            (analog, torch.optim.Adam(analog.parameters(), 0.01)),
            (digital, torch.optim.Adam(digital.parameters(), 0.01)),
        ),
        _fit,
    )


def _fit(model, optimizer):
    for x, y in batches():
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
