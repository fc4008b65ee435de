"""Experiments, their runners and metrics, and the data of the examples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from aihw_torch.config import FloatingPointRPUConfig, InferenceRPUConfig, IOParameters
from aihw_torch.errors import ConfigError
from aihw_torch.experiments import (
    BasicInferencing,
    BasicTraining,
    Characters,
    Digits,
    InferenceLocalRunner,
    LocalRunner,
    Signals,
    alice,
    command_line,
    digits,
    format_table,
    learn_two_rows,
    lenet5,
    perplexity,
    resnet,
    textures,
    train_epoch,
    two_rows,
)
from aihw_torch.nn import AnalogLinear, AnalogSequential


def classifier(config):
    return AnalogSequential(nn.Flatten(), AnalogLinear(64, 10, rpu_config=config), nn.LogSoftmax(dim=1))


def test_a_training_is_that_of_a_plain_loop(capsys):
    """The runner trains what the loop below trains, and reports its accuracy and losses."""
    model = classifier(FloatingPointRPUConfig())
    twin = model[1].to_digital()
    torch.manual_seed(3)
    experiment = BasicTraining(Digits, model, batch_size=50, epochs=2, learning_rate=0.5)
    results = LocalRunner().run(experiment, max_elements_train=200, stdout=True)

    torch.manual_seed(3)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    training, test = digits(flat=True)
    loader, test_loader = DataLoader(Subset(training, range(200)), 50, shuffle=True), DataLoader(test, 397)
    for epoch in range(2):
        losses = []
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(twin(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        ((images, labels),) = test_loader
        output = twin(images)
        expected = {
            "epoch": epoch,
            "accuracy": float((output.argmax(1) == labels).float().mean()),
            "train_loss": sum(losses) / len(losses),
            "valid_loss": nn.functional.cross_entropy(output, labels).item(),
        }
        found = {name: results[epoch][name] for name in expected}
        assert found == pytest.approx(expected, rel=1e-5)
    assert set(results[0]) == {*expected, "time_epoch"}
    assert results == experiment.results
    assert capsys.readouterr().out.count("accuracy") == 2


def test_hooks_of_ones_own_stay_and_metrics_do_not_pile_up():
    seen = []
    experiment = BasicTraining(Digits, classifier(FloatingPointRPUConfig()), batch_size=100, epochs=1)
    experiment.add_hook(Signals.EPOCH_END, lambda: {"mine": len(seen)})
    experiment.add_hook(Signals.TRAIN_EPOCH_BATCH_END, lambda n, loss: seen.append(n))
    for _ in range(2):
        (result,) = LocalRunner().run(experiment, max_elements_train=100)
    assert (result["mine"], seen) == (2, [100, 100])
    assert len(experiment.hooks[Signals.EPOCH_END]) == 2
    experiment.clear_hooks()
    assert experiment.run(100) == [{}]


def test_inference_programs_a_copy_and_reads_it_over_time(tmp_path, capsys):
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=True))
    model = classifier(config)
    trained = BasicTraining(Digits, model, batch_size=20, epochs=2, learning_rate=0.5)
    (*_, last) = LocalRunner().run(trained)
    before = model[1].weight.detach().clone()
    torch.save(model.state_dict(), tmp_path / "weights.pt")

    fresh = classifier(config)
    experiment = BasicInferencing(
        Digits, fresh, batch_size=200, weight_template_id=str(tmp_path / "weights.pt"), inference_time=1e7
    )
    run = InferenceLocalRunner().run(experiment, stdout=True)["inference_runs"]
    rows = run["inference_results"]
    assert (run["inference_repeat"], run["is_partial"]) == (2, False)
    assert [row["t_inference"] for row in rows][::9] == pytest.approx([0.0, 1e7])
    assert rows[0]["avg_accuracy"] == pytest.approx(100 * last["accuracy"], abs=4.0)
    assert all(row["avg_accuracy"] + row["avg_error"] == pytest.approx(100.0) for row in rows)
    assert rows[0]["std_accuracy"] > 0.0  # two chips
    assert len(capsys.readouterr().out.splitlines()) == 12
    assert torch.equal(model[1].weight, before)
    assert fresh[1].analog_module.programming_state != "drifted"
    with pytest.raises(ConfigError, match="must be the path of a state dict"):
        BasicInferencing(Digits, fresh, weight_template_id="hwa-trained-lenet5").run()
    with pytest.raises(ConfigError, match="inference_repeats >= 1"):
        BasicInferencing(Digits, fresh, inference_repeats=0)


def test_data_sets_are_fetched_where_they_can_be(tmp_path):
    """`download=True` for both parts, with the arguments that choose them; SVHN names its parts otherwise."""
    calls = []

    class SVHN(Dataset):
        def __init__(self, root, split, transform=None, download=False):
            calls.append((root, split, download))

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.ones(64), 0

    LocalRunner().run(BasicTraining(SVHN, classifier(FloatingPointRPUConfig()), epochs=1), dataset_root=tmp_path)
    root = str(tmp_path)
    assert calls == [(root, "train", True), (root, "test", True), (root, "train", False), (root, "test", False)]


def test_digits():
    training, test = digits()
    assert (len(training), len(test), training[0][0].shape) == (1400, 397, (1, 8, 8))
    larger = digits(28)[0].tensors[0]
    assert larger.shape == (1400, 1, 28, 28)
    assert (larger.min(), larger.max()) == (0.0, 1.0)
    image, label = Digits(train=False, transform=lambda image: 2 * image)[5]
    assert torch.equal(image, 2 * test[5][0])
    assert label == test[5][1]


def test_textures_belong_to_their_directions():
    """Without noise, the gradient of the image points across the stripes."""
    images, labels = textures(200, noise=0.0).tensors
    gray = images[torch.arange(200), images.abs().amax((2, 3)).argmax(1)]
    dy, dx = torch.gradient(gray, dim=(1, 2))
    angle = 0.5 * torch.atan2((2 * dx * dy).mean((1, 2)), (dx * dx - dy * dy).mean((1, 2)))
    off = (angle / (torch.pi / 10) - labels + 5) % 10 - 5
    assert off.abs().max() < 0.5
    assert labels.bincount(minlength=10).min() > 5
    assert torch.equal(textures(5, seed=1).tensors[0], textures(5, seed=1).tensors[0])


def test_characters():
    text = Characters()
    assert text.decode(text.train) + text.decode(text.test) == alice()
    assert text.encode("Alice").shape == (5,)
    x, y = text.batch(7, 3)
    assert torch.equal(x[:, 1:], y[:, :-1])
    ((x, y),) = text.test_batches(10)
    assert torch.equal(x.flatten()[1:], y.flatten()[:-1])
    uniform = nn.Embedding.from_pretrained(torch.zeros(len(text.alphabet), len(text.alphabet)))
    assert perplexity(uniform, [(x, y)]) == pytest.approx(len(text.alphabet), rel=1e-5)


def test_networks():
    assert lenet5(16)(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
    assert lenet5()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    network = resnet((3, 4, 6, 3), width=2, classes=7)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    matrices = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(matrices) == 34 + 3  # and the three ways around with other shapes


def test_tables():
    rows = [{"name": "a", "value": 0.123456}, {"name": "long", "value": 12}, {"name": "b"}]
    assert format_table(rows).splitlines() == [
        "name   value",
        "------------",
        "a     0.1235",
        "long      12",
        "b",
    ]
    assert format_table([]) == "(no rows)"


def test_the_command_line_of_an_example():
    options = {"steps": (5, "how many"), "samples": 0, "rate": 0.5, "path": Path("a"), "exact": False, "times": [1.0]}
    found = command_line("What it does.", [], **options)
    assert vars(found) == {
        "steps": 5,
        "samples": 0,
        "rate": 0.5,
        "path": Path("a"),
        "exact": False,
        "times": [1.0],
        "seed": 1,
    }
    first = torch.rand(1)
    words = "--steps 7 --samples 0 --rate 2 --path b/c --exact --times 1 2.5 --seed 1"
    found = command_line("What it does.", words.split(), **options)
    assert (found.steps, found.samples, found.rate, found.path) == (7, 0, 2.0, Path("b/c"))
    assert (found.exact, found.times) == (True, [1.0, 2.5])
    assert torch.equal(first, torch.rand(1))


@pytest.mark.parametrize("words", ["--steps 0", "--steps -1", "--samples -1", "--steps 1.5", "--step 1 --nonsense 2"])
def test_command_lines_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line("What it does.", words.split(), steps=5, samples=0)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_loops_are_those_of_torch():
    """`learn_two_rows` is a loop of plain torch, and says so every few steps."""
    layers = [nn.Linear(4, 2), nn.Linear(4, 2)]
    layers[1].load_state_dict(layers[0].state_dict())
    first, second = (torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers)
    losses = learn_two_rows(layers[0].eval(), first, 3)
    assert layers[0].training
    x, y = two_rows()
    for loss in losses:
        second.zero_grad()
        expected = nn.functional.mse_loss(layers[1](x), y)
        expected.backward()
        second.step()
        assert loss == expected.item()
    seen = []
    batches = [(torch.zeros(n, 4), torch.zeros(n, dtype=torch.int64)) for n in (3, 1)]
    last = train_epoch(layers[0], first, batches, after_batch=lambda n, total: seen.append((n, total)))
    assert [n for n, _ in seen] == [3, 1]
    assert seen[-1][1] == last


def test_the_loop_prints_what_it_learns(capsys):
    layer = nn.Linear(4, 2)
    learn_two_rows(layer, torch.optim.SGD(layer.parameters(), lr=0.1), 5, show=2)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["step", "step", "step", "final"]
