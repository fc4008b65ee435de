"""Layers on a GPU compute and learn with the bits of the CPU, and move between devices with all they know."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import rpu_sim
from aihw_torch import ops
from aihw_torch.config import (
    ChoppedTransferCompound,
    ConstantStepDevice,
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    UnitCellRPUConfig,
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from aihw_torch.errors import BackendError, DeviceError
from aihw_torch.nn import AnalogConv2d, AnalogLinear
from aihw_torch.optim import AnalogSGD
from rpu_sim import gpu

only_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def pulsed(device=None, **mapping):
    config = SingleRPUConfig(device=SoftBoundsDevice() if device is None else device)
    for name, value in mapping.items():
        setattr(config.mapping, name, value)
    return config


def ranged():
    config = pulsed(weight_scaling_omega=0.6, learn_out_scaling=True)
    config.pre_post.input_range.enable = True
    return config


def chopped():
    fast = [SoftBoundsDevice(), ConstantStepDevice()]
    return UnitCellRPUConfig(device=ChoppedTransferCompound(fast, transfer_every=2.0, units_in_mbatch=False))


def hardware_aware():
    config = InferenceRPUConfig(forward=IOParameters(out_noise=0.02))
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.05
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 0.8
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.pre_post.input_range.enable = True
    return config


CONFIGS = {
    "pulsed": pulsed,
    "analog bias": lambda: pulsed(digital_bias=False),
    "columnwise scales": lambda: pulsed(weight_scaling_omega=0.6, weight_scaling_columnwise=True),
    "input range": ranged,
    "small tiles": lambda: pulsed(max_input_size=4, max_output_size=3),
    "chopped": chopped,
    "floating point": FloatingPointRPUConfig,
    "hardware aware": hardware_aware,
}


def network(config):
    torch.manual_seed(5)
    return nn.Sequential(
        AnalogConv2d(2, 3, 3, padding=1, rpu_config=config),
        nn.ReLU(),
        nn.Flatten(),
        AnalogLinear(48, 4, rpu_config=config),
    )


def train(model, device, first, last):
    """Steps of training with data of their number; the losses."""
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(3, 2, 4, 4, generator=generator).to(device)
        wanted = torch.randn(3, 4, generator=generator).to(device)
        optimizer.zero_grad()
        loss = ((model(x) - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def assert_same_state(a, b):
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert torch.equal(values.cpu(), two[name].cpu()), name


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "hardware aware"])
def test_training(emulated, name):
    """Nothing tells where a network was trained, also if it moved in between."""
    models = [network(CONFIGS[name]()) for _ in range(3)]
    losses = train(models[0], "cpu", 0, 4)
    models[1].to(emulated)
    assert train(models[1], emulated, 0, 4) == losses
    moved = train(models[2], "cpu", 0, 1) + train(models[2].to(emulated), emulated, 1, 3)
    assert moved + train(models[2].cpu(), "cpu", 3, 4) == losses
    for model in models[1:]:
        assert_same_state(model, models[0])


def test_hardware_aware_training(emulated):
    """Products have the bits of the CPU; torch sums the gradients there, in another order than the core here."""
    models = [network(hardware_aware()) for _ in range(2)]
    x = torch.randn(3, 2, 4, 4)
    models[1].to(emulated)
    assert torch.equal(models[1](x.to(emulated)).cpu(), models[0](x))
    losses = [train(model, place, 0, 4) for model, place in zip(models, ("cpu", emulated), strict=True)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for values, expected in zip(models[1].parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(values.cpu(), expected, rtol=1e-6, atol=1e-7)  # a few roundings of 0.1


def test_one_layer(device):
    """Products and update are those of the kernels alone, so that a GPU has to give the bits as well."""
    torch.manual_seed(5)
    layers = [AnalogLinear(70, 40, bias=False, rpu_config=pulsed())]
    layers.append(copy.deepcopy(layers[0]).to(device))
    x, d = torch.randn(9, 70), torch.randn(9, 40)
    found = []
    for layer, place in zip(layers, ("cpu", device), strict=True):
        inputs = x.clone().to(place).requires_grad_()
        y = layer(inputs)
        y.backward(d.to(place))
        AnalogSGD(layer.parameters(), lr=0.1).step()
        assert y.device == inputs.grad.device == layer.weight.device == torch.device(place)
        found.append([y, inputs.grad, layer.weight])
    for on_cpu, elsewhere, what in zip(*found, ("y", "dx", "weight"), strict=True):
        assert torch.equal(elsewhere.cpu(), on_cpu), what
    assert_same_state(*layers)


def test_a_gradient_moves_with_its_layer(device):
    torch.manual_seed(5)
    layers = [AnalogLinear(7, 4, rpu_config=pulsed())]
    layers.append(copy.deepcopy(layers[0]))
    x, d = torch.randn(9, 7), torch.randn(9, 4)
    for layer in layers:
        layer(x).backward(d)
    layers[1].to(device)
    for layer in layers:
        AnalogSGD(layer.parameters(), lr=0.1).step()
    assert_same_state(*layers)


@pytest.mark.parametrize("name", ["pulsed", "columnwise scales", "input range", "chopped", "hardware aware"])
def test_a_move_happens_as_a_whole_or_not_at_all(emulated, name, monkeypatch):
    """Whichever array finds no memory, the layer stays on the CPU with its gradients and what it recorded."""
    torch.manual_seed(5)
    layers = [AnalogLinear(7, 4, rpu_config=CONFIGS[name]())]
    layers.append(copy.deepcopy(layers[0]))
    x, d = torch.randn(9, 7), torch.randn(9, 4)
    for layer in layers:
        layer(x).backward(d)
    empty, arrays = gpu.GpuSpace.empty, 0
    while True:
        left = arrays

        def limited(*where):
            nonlocal left
            if left == 0:
                raise BackendError("the GPU has no memory left; use smaller arrays or batches")
            left -= 1
            return empty(*where)

        with monkeypatch.context() as patch:
            patch.setattr(gpu.GpuSpace, "empty", limited)
            try:
                layers[1].to(emulated)
                break
            except BackendError:
                assert left == 0
        held = [*layers[1].parameters(), *layers[1].buffers()]
        assert all(values.is_cpu and (values.grad is None or values.grad.is_cpu) for values in held)
        assert layers[1].analog_module.device == torch.device("cpu")
        arrays += 1
    assert arrays > 2
    layers[1].cpu()
    for layer in layers:
        AnalogSGD(layer.parameters(), lr=0.1).step()
        layer(x).backward(d)
        AnalogSGD(layer.parameters(), lr=0.1).step()
    assert_same_state(*layers)


def test_copies_and_checkpoints(emulated):
    model = network(chopped()).to(emulated)
    train(model, emulated, 0, 2)
    loaded = network(chopped()).to(emulated)
    loaded.load_state_dict(model.state_dict())
    on_cpu = network(chopped())
    on_cpu.load_state_dict(model.state_dict())
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(copy.deepcopy(model).cpu())).to(emulated), loaded]
    train(model, emulated, 2, 3)
    for other in others:
        train(other, emulated, 2, 3)
        assert_same_state(other, model)
    train(on_cpu, "cpu", 2, 3)
    assert_same_state(on_cpu, model)


def test_programmed_devices(emulated):
    models = [network(hardware_aware()) for _ in range(2)]
    models[1].to(emulated)
    x = torch.randn(3, 2, 4, 4)
    for model in models:
        model.eval()
        for module in model.modules():
            if hasattr(module, "drift_weights"):
                module.drift_weights(3600.0)
    expected = models[0](x)
    assert torch.equal(models[1](x.to(emulated)).cpu(), expected)
    assert torch.equal(models[1].cpu()(x), models[0](x))


def test_operations_of_the_dispatcher(device):
    """What compilers call, with the seed and the step on the CPU."""
    torch.manual_seed(5)
    tile = AnalogLinear(7, 4, bias=False, rpu_config=pulsed()).analog_module
    x, d, step = torch.randn(9, 7), torch.randn(9, 4), torch.tensor(3)
    results = []
    for place in ("cpu", device):
        tile.to(place)
        token, key, seed = tile.weight_token, tile._key_tensor, tile._seed_tensor
        y = ops.mvm(x.to(place), tile.weight, None, tile._constants, token, key, seed, step, 0, tile._io)
        dx = ops.mvm_transposed(d.to(place), tile.weight, None, tile._constants, seed, step, 0, tile._io)
        assert y.device == dx.device == torch.device(place)
        results.append([y.detach().cpu(), dx.cpu()])
    assert all(map(torch.equal, *results))


def test_autocast(device):
    """Half precision at the edge, float32 in the array: y is the product of the rounded input, rounded once."""
    torch.manual_seed(5)
    layer = AnalogLinear(7, 4, bias=False, rpu_config=pulsed())
    twin = copy.deepcopy(layer).to(device)
    x = torch.randn(9, 7)
    expected = layer(x.bfloat16().float()).bfloat16()
    with torch.autocast(device.type, torch.bfloat16):
        y = twin(x.to(device).bfloat16())
    assert y.dtype is torch.bfloat16
    assert torch.equal(y.cpu(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tiles_in_half_precision(device, dtype):
    """Inputs are exact in float32, outputs are rounded once, and updates are those of the rounded inputs."""
    torch.manual_seed(5)
    layer = AnalogLinear(7, 4, bias=False, rpu_config=pulsed())
    tiles = [layer.analog_module.tile, copy.deepcopy(layer).to(device).analog_module.tile]
    x, d = torch.randn(2, 9, 7).to(dtype), torch.randn(2, 9, 4).to(dtype)
    for name, values in (("forward", x), ("backward", d)):
        expected = getattr(tiles[0], name)(values.float()).to(dtype)
        found = getattr(tiles[1], name)(values.to(device))
        assert found.dtype is dtype
        assert torch.equal(found.cpu(), expected)
    tiles[0].update(x.float(), d.float(), 0.1)
    tiles[1].update(x.to(device), d.to(device), 0.1)
    assert torch.equal(tiles[1].get_weights().cpu(), tiles[0].get_weights())
    (y,) = rpu_sim.together.forward(tiles[1:], [x.to(device)], steps=[0])
    assert torch.equal(y.cpu(), tiles[0].forward(x.float(), step=0).to(dtype))


def test_steps_of_many_tiles_wait_once(emulated):
    """For the norms of all tiles, before anything is changed."""

    class Copies(TorchDispatchMode):
        """Counts what waits for the device."""

        n = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name, tensors = str(function), [a for a in args if isinstance(a, torch.Tensor)]
            if any(not tensor.is_cpu for tensor in tensors):
                to_host = "_to_copy" in name and torch.device((kwargs or {}).get("device", "meta")).type == "cpu"
                self.n += "_local_scalar_dense" in name or to_host
            return function(*args, **(kwargs or {}))

    layer = AnalogLinear(8, 6, rpu_config=pulsed(max_input_size=4, max_output_size=3)).to(emulated)
    assert len(list(layer.analog_tiles())) == 4
    layer(torch.randn(2, 8).to(emulated)).sum().backward()
    with Copies() as copies:
        AnalogSGD(layer.parameters(), lr=0.1).step()
    assert copies.n == 1


def test_inputs_elsewhere(device):
    layer = AnalogLinear(7, 4).to(device)
    with pytest.raises(DeviceError, match=rf"the input is on cpu and the .* on {device}; use x\.to\('{device}'\)"):
        layer(torch.zeros(3, 7))
    with pytest.raises(DeviceError, match=r"on cpu; use x\.to\('cpu'\)"):
        layer.cpu()(torch.zeros(3, 7, device=device))


@pytest.mark.parametrize("kind", [SingleRPUConfig, FloatingPointRPUConfig, InferenceRPUConfig])
def test_layers_begin_on_the_cpu_whatever_the_default_device(device, kind):
    with device:
        layer = AnalogLinear(7, 4, rpu_config=kind())
        assert all(values.is_cpu for values in (*layer.parameters(), *layer.buffers()))
        layer(torch.ones(3, 7, device="cpu")).sum().backward()
        AnalogSGD(layer.parameters(), lr=0.1).step()
        assert all(values.is_cpu for values in layer.state_dict().values())


@only_cuda
def test_streams_and_graphs():
    """A captured forward pass gives the bits of an eager one with the same number of the call."""
    tile = AnalogLinear(70, 40, bias=False, rpu_config=pulsed()).cuda().analog_module.tile
    x = torch.randn(9, 70, device="cuda")
    expected = tile.forward(x, step=3)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        tile.forward(x, step=3)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = tile.forward(x, step=3)
    y.zero_()
    graph.replay()
    assert torch.equal(y, expected)
