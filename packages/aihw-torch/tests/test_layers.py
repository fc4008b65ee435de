"""Every layer beside that of torch: values, gradients, training, tiling, conversion there and back."""

from __future__ import annotations

import warnings

import pytest
import torch
from layer_examples import EXAMPLES, exact_config, packed, tensors, tiled
from torch import nn

from aihw_torch import nn as ann
from aihw_torch.config import FloatingPointRPUConfig, IOParameters, SingleRPUConfig
from aihw_torch.errors import ConfigError, ShapeError
from aihw_torch.nn import AnalogLinear
from aihw_torch.nn.conversion import CONVERSION_MAP
from aihw_torch.nn.rnn import LSTMState
from aihw_torch.optim import AnalogSGD

every_layer = pytest.mark.parametrize("name", EXAMPLES)
in_tiles = pytest.mark.parametrize("tiles", [1, "several"])


def make(name, tiles=1, kind="floating_point"):
    config = exact_config(kind)
    return EXAMPLES[name].make(config if tiles == 1 else tiled(config))


def inputs_of(name):
    """Return the inputs, those that are floating point with a gradient."""
    return [x.requires_grad_() if x.is_floating_point() else x for x in EXAMPLES[name].inputs()]


def loss_of(result):
    return sum((t * torch.linspace(-1.0, 1.0, t.numel()).view(t.shape)).sum() for t in tensors(result))


@every_layer
@in_tiles
def test_values_and_input_gradients_are_those_of_torch(name, tiles):
    layer = make(name, tiles)
    if tiles == "several" and "embedding" not in name:
        assert layer.analog_tile_count() > 1
    twin = layer.to_digital()
    inputs = inputs_of(name)
    twins = [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
    results = layer(*inputs), twin(*twins)
    for ours, theirs in zip(*map(tensors, results), strict=True):
        torch.testing.assert_close(ours, theirs)
    for result in results:
        loss_of(result).backward()
    for ours, theirs in zip(inputs, twins, strict=True):
        if ours.requires_grad and theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


@every_layer
@in_tiles
def test_training_is_that_of_torch(name, tiles):
    layer = make(name, tiles, "ideal")
    twin = layer.to_digital()
    optimizers = AnalogSGD(layer.parameters(), lr=0.05), torch.optim.SGD(twin.parameters(), lr=0.05)
    for _ in range(3):
        inputs = EXAMPLES[name].inputs()
        for model, optimizer in zip((layer, twin), optimizers, strict=True):
            optimizer.zero_grad()
            (0.1 * loss_of(model(*inputs))).backward()
            optimizer.step()
    torch.testing.assert_close(layer.to_digital().state_dict(), twin.state_dict(), rtol=1e-4, atol=1e-5)


@every_layer
def test_gradients_agree_with_differences(name):
    """Central differences in float32: the step of 0.01 leaves an error of rounding (1e-7 / 0.01) and of curvature."""
    layer = make(name)
    inputs = [x for x in inputs_of(name) if x.is_floating_point()]
    if not inputs:
        inputs = [torch.randn(3, 7, requires_grad=True)]
        run = layer.analog_module
    else:
        run = layer
    for part in layer.parameters():  # differences of the input alone
        part.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Input #. requires gradient and is not a double")
        assert torch.autograd.gradcheck(
            lambda *x: tuple(tensors(run(*x))), tuple(inputs), eps=1e-2, atol=2e-3, rtol=1e-2, nondet_tol=0.0
        )


@every_layer
def test_conversion_there_and_back(name):
    layer = make(name)
    digital = layer.to_digital()
    again = type(layer).from_digital(digital, FloatingPointRPUConfig())
    assert type(again) is type(layer)
    torch.testing.assert_close(again.to_digital().state_dict(), digital.state_dict())
    digital.eval()
    assert not type(layer).from_digital(digital, FloatingPointRPUConfig()).training
    mapped = name.endswith("mapped")
    assert mapped or "embedding" in name or CONVERSION_MAP[type(digital)] is type(layer)


@every_layer
def test_starts_as_torch_does(name):
    torch.manual_seed(5)
    layer = make(name)
    torch.manual_seed(5)
    twin = type(layer.to_digital())
    if "lstm" in name or "gru" in name or "rnn" in name:
        bound = 5**-0.5
        values = torch.cat([p.flatten() for p in layer.to_digital().parameters()])
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.8 * bound
        return
    digital = layer.to_digital()
    torch.manual_seed(5)
    fresh = layer._digital()
    assert isinstance(fresh, twin)
    torch.testing.assert_close(digital.state_dict(), fresh.state_dict(), rtol=0, atol=1e-7)


@every_layer
def test_a_noisy_layer_trains(name):
    torch.manual_seed(0)
    layer = EXAMPLES[name].make(SingleRPUConfig())
    inputs = EXAMPLES[name].inputs()
    before = [tile.get_weights()[0] for tile in layer.analog_tiles()]
    optimizer = AnalogSGD(layer.parameters(), lr=0.1)
    loss_of(layer(*inputs)).backward()
    optimizer.step()
    moved = [not torch.equal(w, tile.get_weights()[0]) for w, tile in zip(before, layer.analog_tiles(), strict=True)]
    assert all(moved)
    assert all(torch.isfinite(t).all() for t in tensors(layer(*inputs)))


def test_is_perfect_is_exact():
    config = SingleRPUConfig()
    config.forward.is_perfect = config.backward.is_perfect = True
    layer, x = AnalogLinear(6, 4, rpu_config=config), torch.randn(3, 6)
    torch.testing.assert_close(layer(x), layer.to_digital()(x))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, "same", (2, 1)])
def test_padding_modes(padding_mode, padding):
    layer = ann.AnalogConv2d(2, 3, 3, 1, padding, padding_mode=padding_mode, rpu_config=FloatingPointRPUConfig())
    x = torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(layer(x), layer.to_digital()(x))


def test_images_without_samples_and_of_changing_shape():
    layer = ann.AnalogConv2d(2, 3, 3, rpu_config=FloatingPointRPUConfig())
    twin = layer.to_digital()
    for x in (torch.randn(2, 2, 4, 8), torch.randn(2, 2, 8, 4), torch.randn(2, 8, 4), torch.randn(0, 2, 8, 4)):
        torch.testing.assert_close(layer(x), twin(x))


def test_transposed_output_size():
    layer = ann.AnalogConvTranspose2d(2, 3, 3, 2, rpu_config=FloatingPointRPUConfig())
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(layer(x, output_size=[10, 10]), layer.to_digital()(x, output_size=[10, 10]))


@pytest.mark.parametrize("cls", [ann.AnalogConv2d, ann.AnalogConvTranspose2d])
@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (3, 2, 5), (2,)])
def test_wrong_images_get_a_sentence(cls, shape):
    with pytest.raises(ShapeError, match="this layer takes"):
        cls(2, 3, 3, rpu_config=FloatingPointRPUConfig())(torch.randn(shape))


def test_kernels_larger_than_the_image_get_a_sentence():
    with pytest.raises(ShapeError, match="kernel spans 3"):
        ann.AnalogConv2d(2, 3, 3, rpu_config=FloatingPointRPUConfig())(torch.randn(2, 2, 5))


# ---- attention


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_attention_masks(need_weights, batch_first, average):
    layer = ann.AnalogMultiheadAttention(8, 2, batch_first=batch_first, rpu_config=FloatingPointRPUConfig())
    twin = layer.to_digital()
    q, k = torch.randn(4, 4, 8), torch.randn(4, 4, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(4)
    padding = torch.zeros(4, 4, dtype=torch.bool)
    padding[1, 3] = True
    options = {"need_weights": need_weights, "average_attn_weights": average}
    for extra in (
        {},
        {"attn_mask": causal, "is_causal": True},
        {"attn_mask": causal.isinf()},
        {"key_padding_mask": padding},
        {"attn_mask": torch.randn(8, 4, 4), "key_padding_mask": torch.randn(4, 4)},
    ):
        ours, theirs = layer(q, k, k, **options, **extra), twin(q, k, k, **options, **extra)
        torch.testing.assert_close(ours[0], theirs[0])
        assert (ours[1] is None) == (theirs[1] is None)
        if need_weights:
            torch.testing.assert_close(ours[1], theirs[1])
    single = layer(q[0], k[0], k[0], **options), twin(q[0], k[0], k[0], **options)
    torch.testing.assert_close(single[0][0], single[1][0])


def test_attention_with_other_key_sizes():
    config = FloatingPointRPUConfig()
    layer = ann.AnalogMultiheadAttention(8, 2, kdim=5, vdim=6, batch_first=True, rpu_config=config)
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 4, 5), torch.randn(2, 4, 6)
    torch.testing.assert_close(layer(q, k, v)[0], layer.to_digital()(q, k, v)[0])


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_attention_that_is_not_available(options):
    with pytest.raises(ConfigError, match="add_bias_kv"):
        ann.AnalogMultiheadAttention.from_digital(nn.MultiheadAttention(8, 2, **options))


# ---- recurrent layers


@pytest.mark.parametrize("cls", [ann.AnalogVanillaRNN, ann.AnalogLSTM, ann.AnalogGRU])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences(cls, bidirectional, enforce_sorted):
    layer = cls(3, 5, 2, bidirectional=bidirectional, rpu_config=FloatingPointRPUConfig())
    twin, x = layer.to_digital(), packed(enforce_sorted=enforce_sorted)
    state = torch.randn(4 if bidirectional else 2, 4, 5)
    state = (state, -state) if cls is ann.AnalogLSTM else state
    for given in (None, state):
        (ours, last), (theirs, last_of_twin) = layer(x, given), twin(x, given)
        torch.testing.assert_close(ours.data, theirs.data)
        torch.testing.assert_close(ours.batch_sizes, theirs.batch_sizes)
        for a, b in zip(tensors(last), tensors(last_of_twin), strict=True):
            torch.testing.assert_close(a, b)


def test_sequences_without_a_batch():
    layer = ann.AnalogLSTM(3, 5, rpu_config=FloatingPointRPUConfig())
    x, state = torch.randn(4, 3), (torch.randn(1, 5), torch.randn(1, 5))
    for ours, theirs in zip(tensors(layer(x, state)), tensors(layer.to_digital()(x, state)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("cell", "digital"),
    [(ann.AnalogVanillaRNNCell, nn.RNN), (ann.AnalogLSTMCell, nn.LSTM), (ann.AnalogGRUCell, nn.GRU)],
)
@pytest.mark.parametrize("bidir", [True, False])
def test_modular_rnn_takes_and_gives_lists_of_states(cell, digital, bidir):
    model = ann.AnalogRNN(cell, 3, 5, True, FloatingPointRPUConfig(), num_layers=2, bidir=bidir)
    output, states = model(torch.randn(4, 2, 3))
    assert output.shape == (4, 2, 10 if bidir else 5)
    assert len(states) == 2
    assert output.shape == digital(3, 5, 2, bidirectional=bidir)(torch.randn(4, 2, 3))[0].shape
    again, _ = model(torch.randn(4, 2, 3), states)
    assert again.shape == output.shape


def test_combined_cell_is_the_lstm_cell():
    config = FloatingPointRPUConfig()
    combined, cell = ann.AnalogLSTMCellCombinedWeight(3, 5, True, config), ann.AnalogLSTMCell(3, 5, True, config)
    weight, bias = combined.weight.get_weights()
    cell.weight_ih.set_weights(weight[:, :3], bias)
    cell.weight_hh.set_weights(weight[:, 3:], torch.zeros_like(bias))
    x, state = torch.randn(2, 3), LSTMState(torch.randn(2, 5), torch.randn(2, 5))
    torch.testing.assert_close(combined(x, state), cell(x, state))


def test_rnn_without_a_configuration_is_digital_and_inits():
    model = ann.AnalogRNN(ann.AnalogGRUCell, 3, 5, xavier=True, num_layers=2, dropout=0.5)
    assert model.analog_tile_count() == 0
    assert not any(p.any() for n, p in model.named_parameters() if n.endswith("bias"))
    analog = ann.AnalogRNN(ann.AnalogGRUCell, 3, 5, rpu_config=FloatingPointRPUConfig())
    analog.init_layers(nn.init.ones_, nn.init.zeros_)
    assert all((w == 1).all() and (b == 0).all() for w, b in (tile.get_weights() for tile in analog.analog_tiles()))
    with pytest.warns(UserWarning, match="dropout"):
        ann.AnalogRNN(ann.AnalogGRUCell, 3, 5, dropout=0.5)


# ---- embedding


def test_padding_of_an_embedding_reads_zero_and_does_not_learn():
    layer = ann.AnalogEmbedding(5, 3, padding_idx=1, rpu_config=FloatingPointRPUConfig())
    layer.set_weights(torch.ones(5, 3))
    assert not layer(torch.tensor([1, 1])).any()
    layer(torch.tensor([0, 1])).sum().backward()
    AnalogSGD(layer.parameters(), lr=0.5).step()
    weight = layer.get_weights()[0]
    assert (weight[1] == 1.0).all()
    assert (weight[0] == 0.5).all()


def test_noise_of_one_layer_does_not_depend_on_the_way_the_batch_is_cut():
    config = SingleRPUConfig(forward=IOParameters(out_noise=0.1))
    whole, parts = (AnalogLinear(6, 4, rpu_config=config, seed=3) for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    x = torch.randn(5, 6)
    torch.testing.assert_close(whole(x.view(1, 5, 6)).view(5, 4), parts(x), rtol=0, atol=0)
