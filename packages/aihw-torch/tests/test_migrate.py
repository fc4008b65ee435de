"""Rewriting of scripts: small ones, whose result is known and runs."""

from __future__ import annotations

import sys

import pytest
import torch

pytest.importorskip("libcst", reason="rewriting scripts needs the extra 'migrate'")

from aihw_torch.migrate.__main__ import main
from aihw_torch.migrate.rewrite import rewrite

CASES = {
    "one module": (
        "from aihwkit.nn import AnalogLinear, AnalogConv2d as Conv\n",
        "from aihw_torch.nn import AnalogLinear, AnalogConv2d as Conv\n",
    ),
    "module below": (
        "from aihwkit.simulator.configs.devices import ConstantStepDevice\n",
        "from aihw_torch.config import ConstantStepDevice\n",
    ),
    "several modules here": (
        "from aihwkit.inference import PCMLikeNoiseModel, program_analog_weights, GlobalDriftCompensation\n",
        "from aihw_inference import PCMLikeNoiseModel, GlobalDriftCompensation\n"
        "from aihw_torch.inference import program_analog_weights\n",
    ),
    "another name": (
        "from aihwkit.exceptions import TileError, AihwkitException as Error\n",
        "from aihw_torch.errors import StateError as TileError, RpuError as Error\n",
    ),
    "comments": (
        "# tiles\nfrom aihwkit.simulator.tiles import (  # both\n    AnalogTile,  # pulsed\n    InferenceTile,  # not\n"
        ")  # done\n",
        "# tiles\nfrom aihw_torch.tiles import (  # both\n    AnalogTile,  # pulsed\n)\n"
        "from aihw_torch.inference import (\n    InferenceTile,  # not\n)  # done\n",
    ),
    "lines in parentheses": (
        "from aihwkit.inference import (PCMLikeNoiseModel,\n                               program_analog_weights)\n",
        "from aihw_inference import (PCMLikeNoiseModel)\nfrom aihw_torch.inference import (program_analog_weights)\n",
    ),
    "alias of a module": (
        "import aihwkit.nn as layers\nlayers.AnalogLinear(2, 3)\n",
        "import aihw_torch.nn as layers\nlayers.AnalogLinear(2, 3)\n",
    ),
    "module from its package": (
        "from aihwkit import nn\nfrom aihwkit.simulator import configs as c\n"
        "nn.AnalogLinear(2, 3, rpu_config=c.SingleRPUConfig())\n",
        "from aihw_torch import nn\nimport aihw_torch.config as c\n"
        "nn.AnalogLinear(2, 3, rpu_config=c.SingleRPUConfig())\n",
    ),
    "alias of a module that became two": (
        "import aihwkit.inference as inf\nm = inf.noise.pcm.PCMLikeNoiseModel()\nk = inf.HermesNoiseModel\n"
        "f = inf.program_analog_weights\n",
        "import aihw_inference as inf\nimport aihw_torch.inference\nm = inf.PCMLikeNoiseModel()\n"
        "k = inf.HermesNoiseModel\nf = aihw_torch.inference.program_analog_weights\n",
    ),
    "full paths": (
        "import aihwkit.nn, os\nimport aihwkit.simulator.configs.devices\n"
        "x = aihwkit.nn.AnalogLinear(2, 3)\nd = aihwkit.simulator.configs.devices.SoftBoundsDevice().dw_min\n",
        "import os\nimport aihw_torch.nn\nimport aihw_torch.config\n"
        "x = aihw_torch.nn.AnalogLinear(2, 3)\nd = aihw_torch.config.SoftBoundsDevice().dw_min\n",
    ),
    "the package alone": (
        "import aihwkit\nprint(aihwkit.__version__, aihwkit.optim.AnalogSGD)\n",
        "import aihw_torch\nimport aihw_torch.optim\nprint(aihw_torch.__version__, aihw_torch.optim.AnalogSGD)\n",
    ),
    "one line": (
        "def f():\n    from aihwkit.simulator.tiles import AnalogTile, InferenceTile; "
        "return AnalogTile, InferenceTile\n",
        "def f():\n    from aihw_torch.tiles import AnalogTile; from aihw_torch.inference import InferenceTile; "
        "return AnalogTile, InferenceTile\n",
    ),
    "a module as a name": (
        "from aihwkit.simulator.rpu_base import cuda\n",
        "from rpu_sim import backends as cuda\n",
    ),
    "others stay": (
        "import torch.nn as nn\nfrom torch import optim\nfrom .aihwkit import nn as mine\nx = nn.Linear(2, 3)\n",
        "import torch.nn as nn\nfrom torch import optim\nfrom .aihwkit import nn as mine\nx = nn.Linear(2, 3)\n",
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_scripts(case):
    before, after = CASES[case]
    result = rewrite(before)
    assert result.code == after
    assert result.unresolved == []
    assert rewrite(after).code == after  # nothing is left to do
    exec(compile(after.replace("from .aihwkit", "from torch"), case, "exec"), {})


SCRIPT = """
import torch
from torch.nn.functional import mse_loss

from aihwkit.nn import AnalogLinear, AnalogLSTMCell, AnalogRNN, AnalogSequential
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.optim import AnalogSGD
from aihwkit.simulator.configs import InferenceRPUConfig, UnitCellRPUConfig
from aihwkit.simulator.configs.devices import SoftBoundsDevice, TransferCompound
from aihwkit.simulator.configs.utils import WeightClipType, WeightModifierType, WeightNoiseType
from aihwkit.simulator.presets import TikiTakaReRamSBPreset
from aihwkit.simulator.rpu_base import cuda
from aihwkit.inference import GlobalDriftCompensation, PCMLikeNoiseModel, SinglePairConductanceConverter
import aihwkit.simulator.parameters as pars

x, y = torch.rand(2, 4), torch.rand(2, 2)
if cuda.is_compiled():
    x, y = x.cuda(), y.cuda()
hwa = InferenceRPUConfig()
hwa.forward.out_res = -1.0
hwa.forward.w_noise_type, hwa.forward.w_noise = WeightNoiseType.ADDITIVE_CONSTANT, 0.02
hwa.forward.bound_management = pars.BoundManagementType.NONE
hwa.clip.type, hwa.clip.fixed_value = WeightClipType.FIXED_VALUE, 1.0
hwa.modifier.type, hwa.modifier.std_dev = WeightModifierType.MULT_NORMAL, 0.1
hwa.noise_model, hwa.drift_compensation = PCMLikeNoiseModel(g_max=25.0), GlobalDriftCompensation()
devices = [SoftBoundsDevice(w_min=-0.3, w_max=0.3), SoftBoundsDevice(w_min=-0.6, w_max=0.6)]
compound = TransferCompound(unit_cell_devices=devices, units_in_mbatch=True, transfer_every=2, fast_lr=0.1)
losses = []
for config in (hwa, UnitCellRPUConfig(device=compound)):
    model = AnalogSequential(AnalogLinear(4, 2, bias=True, rpu_config=config))
    opt = AnalogSGD(model.parameters(), lr=0.1)
    opt.regroup_param_groups(model)
    for _ in range(30):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    if config is hwa:
        model.eval()
        for t in (0.0, 1000.0):
            model.drift_analog_weights(t)
        alpha = next(model.analog_tiles()).alpha
digital = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
net = convert_to_analog(digital, TikiTakaReRamSBPreset())
out, _ = AnalogRNN(AnalogLSTMCell, 3, 5, bias=True, num_layers=2)(torch.rand(4, 2, 3))
SinglePairConductanceConverter().convert_to_conductances(net[0].get_weights()[0])
"""


def test_a_usual_script_trains_after_rewriting():
    """Hardware-aware training and drift, Tiki-Taka, conversion, recurrent layers."""
    torch.manual_seed(3)
    result = rewrite(SCRIPT)
    assert result.unresolved == []
    assert "aihwkit" not in result.code
    names = {}
    exec(compile(result.code, "script", "exec"), names)
    losses = names["losses"]
    assert losses[29] < 0.5 * losses[0]
    assert losses[59] < 0.5 * losses[30]
    assert names["alpha"] > 1.0
    assert names["out"].shape == (4, 2, 5)


def test_what_cannot_be_rewritten_is_reported_with_its_line():
    code = (
        "from aihwkit.nn import (\n    AnalogLinear,\n    AnalogNonsense,\n    convert_to_analog_mapped,\n)\n"
        "from aihwkit.nn import *\nimport aihwkit.nonsense\nfrom aihwkit import optim\n"
        "optim.AnalogContext\noptim.nonsense()\n"
    )
    result = rewrite(code)
    assert [remark.line for remark in result.unresolved] == [3, 4, 6, 7, 9, 10]
    assert "aihwkit.nn.AnalogNonsense is not a name" in result.unresolved[0].text
    assert "conversion_map=CONVERSION_MAP_MAPPED" in result.unresolved[1].text
    assert result.code.startswith("from aihw_torch.nn import (\n    AnalogLinear,\n)\nfrom aihwkit.nn import (\n")
    assert "    AnalogNonsense,\n    convert_to_analog_mapped,\n)\n" in result.code


def test_notes_do_not_ask_for_anything():
    """Attributes that are gone, texts that name a module, modules used as objects, names that changed."""
    code = 'from aihwkit import nn\ntile.analog_ctx\np = "aihwkit.nn"\ngetattr(nn, "AnalogLinear")\nnn.AnalogRNN\n'
    result = rewrite(code)
    assert [remark.line for remark in result.remarks] == [2, 3, 4, 5]
    assert result.unresolved == []
    assert "tile.record" in result.remarks[0].text


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_bytes(b"from aihwkit.nn import AnalogLinear\r\nprint(AnalogLinear)\r\n")
    return path


def test_write_keeps_the_rest_of_the_file(script, capsys):
    assert main([str(script), "--write"]) == 0
    assert script.read_bytes() == b"from aihw_torch.nn import AnalogLinear\r\nprint(AnalogLinear)\r\n"
    assert "rewritten" in capsys.readouterr().err
    assert main([str(script), "--check"]) == 0


def test_check_and_diff_change_nothing(script, capsys):
    before = script.read_bytes()
    assert main([str(script), "--check"]) == 1
    assert main([str(script.parent)]) == 0  # a diff of the folder
    assert "+from aihw_torch.nn import AnalogLinear" in capsys.readouterr().out
    assert script.read_bytes() == before


def test_unresolved_names_and_bad_files_have_a_status(tmp_path, capsys):
    (tmp_path / "a.py").write_text("from aihwkit.nn import AnalogNonsense\n")
    (tmp_path / "b.py").write_text("from aihwkit.nn import (\n")
    assert main([str(tmp_path / "a.py"), "--write"]) == 1
    assert f"{tmp_path / 'a.py'}:1: aihwkit.nn.AnalogNonsense" in capsys.readouterr().err
    assert main([str(tmp_path / "b.py"), str(tmp_path / "c.py")]) == 2
    assert "b.py is not a Python file" in capsys.readouterr().err


def test_a_clear_sentence_without_libcst(script, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "libcst", None)
    assert main([str(script)]) == 2
    assert capsys.readouterr().err == "migrate needs libcst; install it with pip install 'aihw-torch[migrate]'\n"
