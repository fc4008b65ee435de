"""torch.compile and torch.export give the bits of eager mode: values, gradients, pulses, noise."""

from __future__ import annotations

import copy

import pytest
import torch
import torch._dynamo.testing
from layer_examples import EXAMPLES, tensors
from torch import nn
from torch.utils.checkpoint import checkpoint

from aihw_torch import ops
from aihw_torch.config import InferenceRPUConfig, IOParameters, MappingParameter, SingleRPUConfig
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD

# Warnings that torch's compiler raises about its own code.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function.. should not be instantiated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(model, backend="aot_eager"):
    return torch.compile(model, fullgraph=True, backend=backend)


def train(run, model, optimizer, inputs, steps=3):
    """Train on one batch of inputs; return all outputs and input gradients."""
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        given = [x.detach().clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
        outputs = tensors(run(*given))
        sum(t.square().sum() for t in outputs).backward()
        optimizer.step()
        seen += [t.detach() for t in outputs] + [x.grad for x in given if x.requires_grad]
    return seen


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_in_one_graph_with_the_values_of_eager_mode(name):
    layer = EXAMPLES[name].make(SingleRPUConfig())
    twin, inputs = copy.deepcopy(layer), EXAMPLES[name].inputs()
    ours = train(compiled(layer), layer, AnalogSGD(layer.parameters(), lr=0.1), inputs, steps=2)
    theirs = train(twin, twin, AnalogSGD(twin.parameters(), lr=0.1), inputs, steps=2)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    layer.eval(), twin.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(layer)(*inputs), twin(*inputs), rtol=1e-5, atol=1e-6)


def network(**options):
    config = SingleRPUConfig(**options)
    return AnalogSequential(
        AnalogConv2d(1, 2, 3, rpu_config=config), nn.ReLU(), nn.Flatten(), AnalogLinear(18, 4, rpu_config=config)
    )


@pytest.mark.parametrize(("backend", "steps"), [("aot_eager", 3), ("inductor", 1)])
def test_a_network_trains_with_the_same_bits(backend, steps):
    # One step of inductor, which adds up bias gradients in another order: pulses turn on the last bit of what follows.
    model = network(forward=IOParameters(out_noise_std=0.3))
    twin, x = copy.deepcopy(model), torch.randn(3, 1, 5, 5)
    train(compiled(model, backend), model, AnalogSGD(model.parameters(), lr=0.1), [x], steps)
    train(twin, twin, AnalogSGD(twin.parameters(), lr=0.1), [x], steps)
    for ours, theirs in zip(model.analog_tiles(), twin.analog_tiles(), strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert ours.pulse_counts == theirs.pulse_counts
        assert int(ours.forward_step) == int(theirs.forward_step) == steps
    torch.testing.assert_close(model[0].bias, twin[0].bias)


class TwoUses(nn.Module):
    """A layer that is used twice on the same input: noise, and record, differ."""

    def __init__(self, config=None):
        super().__init__()
        self.layer = AnalogLinear(4, 4, rpu_config=config)

    def forward(self, x):
        first, second = self.layer(x), self.layer(x)
        return first + second, first - second


def test_two_uses_are_two_reads_and_two_records():
    model = TwoUses()
    twin, x = copy.deepcopy(model), torch.randn(3, 4)
    run = compiled(model)
    for module, call in ((model, run), (twin, twin)):
        total, difference = call(x)
        assert difference.abs().max() > 0.01  # fresh noise in the second use
        total.sum().backward()
        assert len(module.layer.analog_module.record) == 6
        AnalogSGD(module.parameters(), lr=0.1).step()
    assert torch.equal(model.layer.weight, twin.layer.weight)


def test_two_backward_passes_add():
    model = TwoUses()
    twin, x = copy.deepcopy(model), torch.randn(3, 4)
    for module, call in ((model, compiled(model)), (twin, twin)):
        for _ in range(2):
            call(x)[0].square().sum().backward()
        AnalogSGD(module.parameters(), lr=0.1).step()
    assert torch.equal(model.layer.weight, twin.layer.weight)
    torch.testing.assert_close(model.layer.bias, twin.layer.bias)


def test_a_compiled_checkpoint_repeats_the_noise():
    model = AnalogSequential(AnalogLinear(4, 4), nn.ReLU(), AnalogLinear(4, 4))
    twin, x = copy.deepcopy(model), [torch.randn(3, 4)]
    run = compiled(lambda t: checkpoint(model, t, use_reentrant=False))
    ours = train(run, model, AnalogSGD(model.parameters(), lr=0.1), x)
    torch.testing.assert_close(ours, train(twin, twin, AnalogSGD(twin.parameters(), lr=0.1), x), rtol=0, atol=0)
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)


def test_many_layers_compile_once():
    """Ten tiles with the same code: seeds and keys are tensors, so the limit of recompilations is not met."""
    layers = [AnalogLinear(4, 4, seed=number) for number in range(10)]
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, backend=counter)
    def run(layer, x):
        return layer(x)

    x = torch.randn(2, 4)
    outputs = [run(layer, x) for layer in layers]
    assert counter.frame_count <= 2
    assert not torch.equal(outputs[0], outputs[1])


def test_a_copy_of_a_compiled_model_has_a_record_of_its_own():
    model = AnalogSequential(AnalogLinear(4, 4))
    run = compiled(model)
    run(torch.randn(2, 4)).sum().backward()
    twin = copy.deepcopy(model)
    compiled(twin)(torch.randn(2, 4)).sum().backward()
    assert len(model[0].analog_module.record) == len(twin[0].analog_module.record) == 2


def test_every_feature_of_the_periphery_compiles():
    config = SingleRPUConfig(mapping=MappingParameter(weight_scaling_omega=0.6, learn_out_scaling=True))
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.init_from_data = 1
    for gradient in ("exact", "legacy"):
        config.pre_post.input_range.gradient = gradient
        for digital in (True, False):
            config.mapping.digital_bias = digital
            layer = AnalogLinear(5, 3, rpu_config=config)
            twin, x = copy.deepcopy(layer), [2.0 * torch.randn(6, 5)]
            ours = train(compiled(layer), layer, AnalogSGD(layer.parameters(), lr=0.01), x)
            theirs = train(twin, twin, AnalogSGD(twin.parameters(), lr=0.01), x)
            torch.testing.assert_close(ours, theirs)
            torch.testing.assert_close(layer.state_dict(), twin.state_dict())


@pytest.mark.parametrize("io", [IOParameters(), IOParameters(is_perfect=True), IOParameters(out_noise_std=0.5)])
@pytest.mark.parametrize("leading", [(3,), (2, 3), ()])
@pytest.mark.parametrize("scaled", [True, False])
def test_opcheck(io, leading, scaled):
    tile = AnalogLinear(5, 3, False, SingleRPUConfig(forward=io)).analog_module
    x, d = torch.randn(*leading, 5, requires_grad=True), torch.randn(*leading, 3)
    scale, step = torch.tensor([2.0]) if scaled else None, torch.tensor(4)
    io_text, constants = ops.describe_periphery(tile.tile)
    key, seed = tile.record.key, torch.tensor(tile.signed_seed)
    forward = (x, tile.weight.detach(), scale, constants, tile.weight_token, key, seed, step, 0, io_text)
    # The norm of the weight gradient, which the token gets, is no derivative; and a record is made, on purpose.
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(ops.mvm, forward, test_utils=tests)
    torch.library.opcheck(
        ops.mvm_transposed, (d, tile.weight.detach(), scale, constants, seed, step, 0, io_text), test_utils=tests
    )
    torch.library.opcheck(ops.step_of, (step, x.detach(), tile._log_key, True))
    torch.library.opcheck(ops.record, (x.detach(), d, key, step), test_utils=("test_schema", "test_faketensor"))
    tile.record.discard()


# ---- export


def test_an_evaluated_model_can_be_exported_saved_and_run_without_its_tiles(tmp_path):
    model = network(forward=IOParameters(out_noise_std=0.3)).eval()
    twin, x = copy.deepcopy(model), torch.randn(3, 1, 5, 5)
    samples = torch.export.Dim("samples", min=2, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: samples},))
    torch.export.save(program, tmp_path / "model.pt2")
    del model, program
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        for batch in (x, torch.randn(5, 1, 5, 5)):
            torch.testing.assert_close(loaded(batch), twin(batch), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["conv2d_groups", "linear_shared", "transposed2d", "embedding", "attention", "gru"])
def test_layers_for_inference_compile_and_export(name):
    layer = EXAMPLES[name].make(InferenceRPUConfig())
    twin, inputs = copy.deepcopy(layer), EXAMPLES[name].inputs()
    for model, run in ((layer, compiled(layer)), (twin, twin)):
        sum(t.square().sum() for t in tensors(run(*inputs))).backward()
        assert all(p.grad is not None for p in model.parameters())
    for own, other in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-5)
    layer.eval(), twin.eval()
    program = torch.export.export(copy.deepcopy(layer), inputs)
    with torch.no_grad():
        expected = twin(*inputs)
        torch.testing.assert_close(compiled(layer)(*inputs), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(program.module()(*inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["conv1d", "transposed2d", "embedding", "attention", "lstm"])
def test_other_layers_can_be_exported(name):
    layer = EXAMPLES[name].make(SingleRPUConfig()).eval()
    twin, inputs = copy.deepcopy(layer), EXAMPLES[name].inputs()
    program = torch.export.export(layer, inputs)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs), twin(*inputs), rtol=0, atol=1e-6)
