"""The checkers of dev/ find what they look for, and nothing in order."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import audit_wheels
import check_files
import check_isa_objects
import check_ptx
import check_versions
import pytest
import release_plan

import package_info

ROOT = Path(__file__).resolve().parents[2]
PURE_WHEEL = [
    "aihw_presets/__init__.py",
    "aihw_presets/py.typed",
    "aihw_presets-0.1.0.dist-info/licenses/LICENSE",
]


@pytest.mark.parametrize("line", ["see /" + "home/user/x", "open('/" + "tmp/file')", "pypi." + "org/simple/numpy"])
def test_forbidden_strings_are_found(line: str) -> None:
    assert len(list(check_files.forbidden_in(ROOT / "file.py", f"fine\n{line}\n"))) == 1


@pytest.mark.parametrize("line", ["a/home/b", "https://example.org/" + "work/x", "../tmp/y", "packages/rpu-sim"])
def test_ordinary_paths_are_allowed(line: str) -> None:
    assert not list(check_files.forbidden_in(ROOT / "file.py", line))


def test_a_complete_wheel_has_no_content_problem() -> None:
    assert not list(audit_wheels.content_problems("aihw-presets", "aihw_presets", PURE_WHEEL))


@pytest.mark.parametrize("missing", PURE_WHEEL)
def test_a_missing_file_is_found(missing: str) -> None:
    names = [name for name in PURE_WHEEL if name != missing]
    assert len(list(audit_wheels.content_problems("aihw-presets", "aihw_presets", names))) == 1


@pytest.mark.parametrize("extra", ["tests/test_x.py", "aihw_presets/_core.abi3.so", "aihw_presets/core/x.cpp"])
def test_a_file_too_many_is_found(extra: str) -> None:
    assert len(list(audit_wheels.content_problems("aihw-presets", "aihw_presets", [*PURE_WHEEL, extra]))) == 1


def changed(package: package_info.Package, old: str, new: str, folder: Path) -> package_info.Package:
    """Return a copy of a package with an edited pyproject.toml."""
    copy = shutil.copytree(package.folder, folder / package.name, ignore=shutil.ignore_patterns("build", "tests"))
    text = (copy / "pyproject.toml").read_text()
    assert old in text
    (copy / "pyproject.toml").write_text(text.replace(old, new))
    return package_info.Package(copy)


@pytest.mark.parametrize("range_of_core", ["rpu-sim>=9", "rpu-sim"])
def test_a_wrong_range_of_another_package_is_found(range_of_core: str, tmp_path: Path) -> None:
    everything = package_info.packages()
    torch = changed(everything["aihw-torch"], "rpu-sim>=0.1,<0.2", range_of_core, tmp_path)
    assert not list(check_versions.problems_of(everything["aihw-torch"], everything))
    assert any("rpu-sim" in problem for problem in check_versions.problems_of(torch, everything))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('version = "0.1.0"', 'version = "0.1.1"'),
        ("rpu-sim==0.1.0", "rpu-sim>=0.1.0"),
        ("rpu-sim==0.1.0", "rpu-sim==0.2.0"),
    ],
)
def test_a_plugin_that_does_not_name_its_release_is_found(old: str, new: str, tmp_path: Path) -> None:
    core = package_info.packages()["rpu-sim"]
    assert not list(check_versions.plugin_problems(core))
    plugin = changed(package_info.Package(core.folder / "cuda"), old, new, tmp_path)
    (tmp_path / "core").mkdir()
    shutil.copy(core.folder / "pyproject.toml", tmp_path / "core")
    plugin.folder.rename(tmp_path / "core" / "cuda")
    assert len(list(check_versions.plugin_problems(package_info.Package(tmp_path / "core")))) == 1


@pytest.mark.parametrize(("name", "entry"), [("rpu-sim", "PyInit__core"), ("rpu-sim-cu13", "rpu_plugin")])
def test_the_entry_point_may_be_visible(name: str, entry: str) -> None:
    assert audit_wheels.NATIVE[name].visible.fullmatch(entry)


@pytest.mark.parametrize("name", audit_wheels.NATIVE)
@pytest.mark.parametrize("symbol", ["_ZN3rpu6updateEv", "kernel", "_ZNSt6vectorIfSaIfEE14_M_fill_assignEmRKf"])
def test_other_symbols_may_not_be_visible(name: str, symbol: str) -> None:
    assert not audit_wheels.NATIVE[name].visible.fullmatch(symbol)


SOUND = """
.visible .entry quad_kernel_Diffuse(
  mul.rn.f32 %f1, %f2, %f3;
  div.rn.f32 %f4, %f1, %f2;
  sqrt.rn.f32 %f5, %f4;
  mad.lo.s32 %r1, %r2, %r3, %r4;
.visible .entry block_kernel_Product(
  fma.rn.f32 %f1, %f2, %f3, %f4;
"""


def test_sound_kernels_have_no_problem() -> None:
    assert not check_ptx.problems(SOUND)


@pytest.mark.parametrize(
    "operation",
    [
        "fma.rn.f32",
        "fma.rn.f64",
        "mul.f32",
        "add.f32",
        "div.approx.f32",
        "div.full.f32",
        "ex2.approx.ftz.f32",
        "mul.rn.ftz.f32",
    ],
)
def test_other_arithmetic_is_found(operation: str) -> None:
    found = check_ptx.problems(SOUND.replace("mul.rn.f32", operation))
    assert len(found) == 1
    assert found[0].startswith("quad_kernel_Diffuse has 1 x")


@pytest.mark.skipif(os.name == "nt", reason="looks at ELF and Mach-O objects, which Windows compilers do not write")
@pytest.mark.parametrize(
    ("source", "weak"), [("inline int f() { return 1; }", True), ("static int f() { return 1; }", False)]
)
def test_weak_symbols_are_found(source: str, weak: bool, tmp_path: Path) -> None:
    (tmp_path / "kernel.cpp").write_text(f"{source}\nint g() {{ return f(); }}\n")
    compiler = os.environ.get("CXX", "c++")
    subprocess.check_call([compiler, "-O0", "-c", "kernel.cpp", "-o", "kernel.o"], cwd=tmp_path)
    assert bool(check_isa_objects.weak_symbols(tmp_path / "kernel.o")) == weak


def test_a_release_of_rpu_sim_names_its_plugins(tmp_path: Path) -> None:
    core = package_info.packages()["rpu-sim"]
    wheel = tmp_path / f"rpu_sim_cu13-{core.version}-py3-none-manylinux_2_28_x86_64.whl"
    wheel.write_bytes(b"a wheel")
    lines = release_plan.plugins(core, tmp_path)
    assert f"rpu-sim-cu13 {core.version}: with {core.tag}" in lines
    assert any(wheel.name in line for line in lines)
    assert sum("before: put the wheels" in line for line in lines) == 1  # those of cu12
