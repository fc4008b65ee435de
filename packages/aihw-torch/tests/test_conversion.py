"""Conversion of models there and back: what is kept, what is reported, what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from aihw_torch.config import FloatingPointRPUConfig, MappingParameter, SingleRPUConfig
from aihw_torch.errors import ConfigError, StateError
from aihw_torch.nn import (
    AnalogConv2d,
    AnalogConv2dMapped,
    AnalogEmbedding,
    AnalogLinear,
    AnalogMultiheadAttention,
    AnalogSequential,
    AnalogWrapper,
    ConversionReport,
    analog_tiles,
    convert_to_analog,
    convert_to_digital,
    specific_rpu_config_id,
)
from aihw_torch.nn.conversion import CONVERSION_MAP_MAPPED
from aihw_torch.tiles import TileModuleArray, WeightTile

EXACT = FloatingPointRPUConfig()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(27, 4)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def images(samples=2):
    return torch.randn(samples, 1, 8, 8)


def test_values_there_and_back():
    digital = LeNet().eval()
    analog = convert_to_analog(digital, EXACT)
    x = images()
    torch.testing.assert_close(analog(x), digital(x))
    assert isinstance(analog, AnalogWrapper)
    assert isinstance(analog, LeNet)
    assert isinstance(analog.features, AnalogSequential)
    assert isinstance(analog.features[0], AnalogConv2d)
    assert type(digital.classifier) is nn.Linear
    back = convert_to_digital(analog)
    assert type(back) is LeNet
    assert type(back.features) is nn.Sequential
    torch.testing.assert_close(back.state_dict(), digital.state_dict())
    torch.testing.assert_close(back(x), digital(x))


def test_in_place():
    model = LeNet()
    features = model.features
    analog = convert_to_analog(model, EXACT, inplace=True)
    assert analog.__dict__ is model.__dict__
    assert isinstance(model.classifier, AnalogLinear)
    assert isinstance(features[0], AnalogConv2d)
    digital = convert_to_digital(analog, inplace=True)
    assert type(digital.classifier) is nn.Linear
    assert isinstance(convert_to_analog(nn.Linear(2, 2), EXACT), AnalogLinear)
    assert isinstance(convert_to_analog(nn.Sequential(nn.Linear(2, 2)), EXACT), AnalogSequential)
    assert type(convert_to_analog(LeNet(), EXACT, ensure_analog_root=False)) is LeNet
    assert type(convert_to_analog(LeNet(), EXACT, module_name="part")) is LeNet


def test_modes_flags_types_hooks_and_ties_are_kept():
    model, calls = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)), []
    model.append(model[0])  # the same layer again
    model[0].register_forward_hook(lambda *_: calls.append("forward"))
    model[0].register_forward_pre_hook(lambda *_: calls.append("pre"))
    model[1].weight.requires_grad_(False)
    model[1].eval()
    model.to(torch.bfloat16)
    analog = convert_to_analog(model, SingleRPUConfig())
    assert analog[3] is analog[0]
    assert [layer.training for layer in analog] == [True, False, True, True]
    assert analog[0].analog_module.weight_token.requires_grad
    assert not analog[1].analog_module.weight_token.requires_grad
    assert analog[1].bias.requires_grad
    assert analog(torch.randn(2, 4, dtype=torch.bfloat16)).dtype is torch.bfloat16
    assert calls == ["pre", "forward"] * 2
    back = convert_to_digital(analog)
    assert back[3] is back[0]
    assert back[0].weight.dtype is torch.bfloat16


def test_configurations_by_name_and_exclusions():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    model.add_module("block", nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    other = SingleRPUConfig()
    other.forward.out_noise = 0.5

    def by_hand(name, module, config):
        assert isinstance(module, nn.Linear)
        config.mapping.max_input_size = 2 if name == "5" else 512
        return specific_rpu_config_id(name, module, config)

    report = ConversionReport()
    analog = convert_to_analog(
        model,
        SingleRPUConfig(),
        specific_rpu_config_fun=by_hand,
        rpu_configs={"1": other, "[23]": EXACT, "4": None},
        exclude_modules=["0", "bl*"],
        report=report,
    )
    assert report.converted == ["1", "2", "3", "5"]
    assert report.left == {
        "0": "it is excluded",
        "4": "rpu_configs has None for it",
        "block": "it is excluded",
    }
    assert analog[1].analog_module.rpu_config.forward.out_noise == 0.5
    assert isinstance(analog[2].analog_module.rpu_config, FloatingPointRPUConfig)
    assert isinstance(analog[5].analog_module, TileModuleArray)
    assert "5 (Linear): converted, 2 tiles, SingleRPUConfig" in str(report)
    assert other.mapping.max_input_size == 512  # each layer has a copy


class Scaled(nn.Linear):
    """Computes something else than nn.Linear."""

    def forward(self, x):
        return 2.0 * super().forward(x)


class WithParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 3))
        self.inner = nn.Linear(3, 3)


def test_what_is_not_converted_is_reported_with_the_reason(capsys):
    model = nn.ModuleDict(
        {
            "scaled": Scaled(2, 2),
            "embedding": nn.Embedding(3, 2),
            "weighted": parametrizations.weight_norm(nn.Linear(2, 2)),
            "bilinear": nn.Bilinear(2, 2, 2),
            "own": WithParameter(),
            "norm": nn.LayerNorm(2),
            "tied": nn.Linear(2, 3, bias=False),
        }
    )
    model.tied.weight = model.embedding.weight
    analog = convert_to_analog(model, EXACT, verbose=True)
    text = capsys.readouterr().out
    assert type(analog.scaled) is Scaled
    assert "derived from Linear; add Scaled to conversion_map" in text
    assert "embedding (Embedding): left digital, Embedding is not in the conversion map" in text
    assert "remove_parametrizations" in text
    assert "bilinear (Bilinear): left digital" in text
    assert "own (WithParameter): left digital" in text
    assert "own.inner (Linear): converted" in text
    assert "tied (Linear): converted, 1 tile, FloatingPointRPUConfig; its weight was shared" in text
    assert "norm" not in text
    converted = convert_to_analog(nn.Embedding(3, 2), EXACT, conversion_map={nn.Embedding: AnalogEmbedding})
    assert isinstance(converted, AnalogEmbedding)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("convert_attention", [True, False])
def test_transformers_in_eval_mode_go_through_their_tiles(norm_first, convert_attention):
    """torch would compute an evaluated encoder layer with one fused digital kernel."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    digital = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    excluded = () if convert_attention else ("layers.*.self_attn",)
    analog = convert_to_analog(digital, EXACT, exclude_modules=excluded)
    assert analog.analog_tile_count() == (12 if convert_attention else 4)
    x, steps = torch.randn(2, 5, 8), [int(tile.forward_step) for tile in analog.analog_tiles()]
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        for options in ({}, {"src_key_padding_mask": padding}):
            ours, theirs = analog(x, **options), digital(x, **options)
            torch.testing.assert_close(ours[~padding], theirs[~padding])
    assert all(int(tile.forward_step) == 2 for tile in analog.analog_tiles()), steps
    back = convert_to_digital(analog)
    torch.testing.assert_close(back.state_dict(), digital.state_dict())
    assert isinstance(convert_to_analog(nn.MultiheadAttention(8, 2), EXACT), AnalogMultiheadAttention)


def test_mapped_classes():
    config = SingleRPUConfig(mapping=MappingParameter(digital_bias=False))
    analog = convert_to_analog(LeNet(), EXACT, conversion_map=CONVERSION_MAP_MAPPED)
    assert isinstance(analog.features[0], AnalogConv2dMapped)
    assert isinstance(analog.classifier.analog_module, TileModuleArray)
    with pytest.raises(
        ConfigError, match=r"^features\.0 cannot be converted: the bias of AnalogConv2dMapped is digital"
    ):
        convert_to_analog(LeNet(), config, conversion_map=CONVERSION_MAP_MAPPED)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="conversion_map"):
        convert_to_analog(LeNet(), EXACT, conversion_map=[nn.Linear])
    with pytest.raises(ConfigError, match="conversion_set"):
        convert_to_digital(LeNet(), conversion_set="AnalogLinear")
    with pytest.raises(ConfigError, match="to_digital"):
        convert_to_digital(LeNet(), conversion_set={nn.Linear})


# ---- wrapped models


def make_class(value):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x) * 0.0 + value

    return Net


def test_classes_of_the_same_name_do_not_collide():
    first, second = (convert_to_analog(make_class(value)(), EXACT) for value in (1.0, 2.0))
    assert float(first(torch.zeros(2)).mean().detach()) == 1.0
    assert float(second(torch.zeros(2)).mean().detach()) == 2.0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_wrapped_models_can_be_copied_and_pickled(duplicate):
    model = convert_to_analog(LeNet(), SingleRPUConfig()).eval()
    twin = duplicate(model)
    assert type(twin) is type(model)
    x = images()
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=0)
    assert twin.classifier.weight.data_ptr() != model.classifier.weight.data_ptr()
    with pytest.raises(StateError, match="use it as it is"):
        AnalogWrapper(model)


def test_wrapped_models_load_with_the_choice_of_the_configuration():
    model = convert_to_analog(LeNet(), SingleRPUConfig())
    model.load_state_dict(model.state_dict(), load_rpu_config=False)
    assert set(model.get_weights()) == {"features.0.analog_module", "classifier.analog_module"}


# ---- seeds


def test_seeds_follow_the_name_of_the_layer_and_torch():
    def bounds(seed=None, exclude=()):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        analog = convert_to_analog(model, SingleRPUConfig(), seed=seed, exclude_modules=exclude)
        return [tile.get_hidden_parameters()["max_bound"] for tile in analog_tiles(analog)]

    first, second = bounds()
    assert not torch.equal(first, second)
    assert torch.equal(bounds()[1], second)
    assert torch.equal(bounds(exclude=["0"])[0], second)  # whatever else is converted
    assert torch.equal(bounds(seed=4)[0], bounds(seed=4)[0])
    assert not torch.equal(bounds(seed=4)[0], first)


# ---- large models


def test_models_without_values_are_converted_layer_by_layer():
    with torch.device("meta"):
        empty = LeNet()
    full = LeNet()
    state = full.state_dict()
    with pytest.raises(StateError, match=r"features\.0\.weight is on the meta device"):
        convert_to_analog(copy.deepcopy(empty), EXACT)
    analog = convert_to_analog(empty, EXACT, state_dict=state)
    assert not any(p.is_meta for p in analog.parameters())
    x = images()
    torch.testing.assert_close(analog.eval()(x), full.eval()(x))
    with torch.device("meta"):
        wrong = LeNet()
    with pytest.raises(StateError, match="classifier"):
        convert_to_analog(wrong, EXACT, state_dict={**state, "classifier.weight": torch.zeros(2, 2)})


class Reader(dict):
    """A state that makes each value when it is asked for, as a file does."""

    def __getitem__(self, name):
        return torch.full(dict.__getitem__(self, name), 0.01)


def test_conversion_needs_the_memory_of_the_analog_model_and_one_layer():
    """40 layers of 200 x 200 (6.4 MB): the peak beyond the result is a few layers, not a second model."""
    with torch.device("meta"):
        empty = nn.Sequential(*(nn.Linear(200, 200, bias=False) for _ in range(40)))
    shapes = Reader({name: values.shape for name, values in empty.state_dict().items()})
    layer = 200 * 200 * 4
    watch = Watch()
    with watch:
        analog = convert_to_analog(empty, SingleRPUConfig(tile_class=WeightTile), state_dict=shapes)
    assert analog.analog_tile_count() == 40
    assert watch.peak < 40 * layer + 8 * layer


def test_models_without_weights():
    """A lazy layer would stay digital without a word."""
    with pytest.raises(ConfigError, match="LazyLinear '1' has no weights yet"):
        convert_to_analog(nn.Sequential(nn.ReLU(), nn.LazyLinear(3)), SingleRPUConfig())
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module"):
        convert_to_analog("model", SingleRPUConfig())
    model = nn.LazyLinear(3)
    model(torch.zeros(1, 4))
    assert isinstance(convert_to_analog(model, SingleRPUConfig()), AnalogLinear)


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """The largest number of bytes in tensors that exist at the same time."""

    def __init__(self):
        super().__init__()
        self.peak = self.now = 0
        self._seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage):
        if storage.data_ptr() in self._seen or not storage.nbytes():
            return
        import weakref

        pointer, size = storage.data_ptr(), storage.nbytes()
        self._seen[pointer] = weakref.finalize(storage, self._free, pointer, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, pointer, size):
        self._seen.pop(pointer, None)
        self.now -= size
