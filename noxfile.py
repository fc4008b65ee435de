"""Every task of the repository: `python3 noxfile.py -s SESSION`, or `-l` to list them.

Needed are Python >= 3.11 with venv and a C++17 compiler; nox itself is installed on first use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"


def bootstrap() -> int:
    """Run nox, at the version of constraints.txt, from an environment of its own that is made on first use."""
    if sys.version_info < (3, 11):  # noqa: UP036  (the one file that an older Python may start)
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: run noxfile.py with a newer one.")
    pin = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("nox=="))
    home = ROOT / ".nox" / f"bootstrap-{pin}-{sys.version_info.major}.{sys.version_info.minor}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        make_bootstrap(home, python, pin)
    return subprocess.call([python, "-m", "nox", "-f", __file__, *sys.argv[1:]])


def make_bootstrap(home: Path, python: Path, pin: str) -> None:
    """Make the environment apart and rename it when it is whole, because several first runs may be under way."""
    if home.exists() and not python.exists():  # the Python it was made from is gone
        shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bootstrap-", dir=home.parent, ignore_cleanup_errors=True) as made:
        try:
            venv.create(made, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit("This Python cannot make environments: install its venv module (Debian, Ubuntu: python3-venv).")
        subprocess.check_call([Path(made) / python.relative_to(home), "-m", "pip", "install", "-q", pin])
        with contextlib.suppress(OSError):  # another run was first
            os.rename(made, home)


if __name__ == "__main__":  # never true when nox imports this file
    sys.exit(bootstrap())

import nox  # noqa: E402  (after the block above)

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "venv"  # pip and its environment variables decide where packages come from
nox.options.reuse_venv = "yes"
os.environ.setdefault("NOX_ENABLE_STALENESS_CHECK", "1")  # another Python makes new environments
nox.options.sessions = ["tests", "lint", "docs"]

# In the order of their dependencies, which is also the order of a release.
PACKAGES = ("rpu-sim", "aihw-presets", "aihw-inference", "aihw-torch")
MODULES = {name: name.replace("-", "_") for name in PACKAGES}
TOOLS = nox.project.load_toml(ROOT / "pyproject.toml")
STANDALONE = ("rpu-sim", "aihw-presets", "aihw-inference")  # work without torch
DIST = ROOT / "dist"
WHEELHOUSE = ROOT / ".nox" / "wheelhouse"
PIP_WHEEL = ("python", "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")


def install(session: nox.Session, *requirements: str) -> None:
    """Install requirements at the versions of constraints.txt (pip's own environment variables are honoured)."""
    session.install("-c", str(CONSTRAINTS), *requirements)


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(TOOLS, name)


def build_requirements(*packages: str) -> list[str]:
    """Return what the packages' own pyproject.toml files need to be built, and the tools that their back ends call."""
    tables = (nox.project.load_toml(ROOT / "packages" / name / "pyproject.toml") for name in packages)
    own = {requirement for table in tables for requirement in table["build-system"]["requires"]}
    return sorted(own | {"cmake", "ninja"})


def wheel(folder: Path, package: str) -> str:
    """Return the path of the one wheel of a package in a folder."""
    return str(next(folder.glob(f"{MODULES[package]}-*.whl")))


def install_packages(session: nox.Session, *requirements: str) -> None:
    """Install the wheels that the session `build` made, their dependencies and further requirements."""
    wheels = [wheel(WHEELHOUSE, name) for name in PACKAGES]
    install(session, *wheels, *requirements)
    # pip keeps an installed wheel of the same version, but its content may be new.
    session.install("--no-deps", "--force-reinstall", *wheels)


def new_environment(session: nox.Session, folder: Path, *requirements: str) -> str:
    """Make an environment apart from the session's, install requirements, and return its Python."""
    session.run("python", "-m", "venv", "--clear", str(folder))
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    session.run(python, "-m", "pip", "install", "-q", "-c", str(CONSTRAINTS), *requirements, external=True)
    return python


def build_native(session: nox.Session, tree: Path, folder: Path, objects: Path, *defines: str) -> None:
    """Build the wheel of a tree's rpu-sim; CMake's files stay in `objects`, so that a rebuild is incremental."""
    package = str(tree / "packages" / "rpu-sim")
    options = [word for define in defines for word in ("-C", f"cmake.define.{define}")]
    session.run(*PIP_WHEEL, "-w", str(folder), "-C", f"build-dir={objects}", *options, package)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheels of this tree that the other sessions install."""
    install(session, *build_requirements(*PACKAGES))
    WHEELHOUSE.mkdir(parents=True, exist_ok=True)
    for old in WHEELHOUSE.glob("*.whl"):
        old.unlink()
    # The tests also run the CUDA kernels, on the host.
    build_native(session, ROOT, WHEELHOUSE, ROOT / ".nox" / "native", "RPU_EMULATED_CUDA=ON")
    session.run(*PIP_WHEEL, "-w", str(WHEELHOUSE), *(f"packages/{name}" for name in PACKAGES if name != "rpu-sim"))


@nox.session(requires=["build"])
def quickstart(session: nox.Session) -> None:
    """Install everything and train a small analog network; arguments after `--` go to aihw_torch.quickstart."""
    install_packages(session, "matplotlib", "scikit-learn")
    session.run("python", "-m", "aihw_torch.quickstart", *session.posargs)


@nox.session(requires=["build"])
def examples(session: nox.Session) -> None:
    """Run the examples of aihw-torch at full length (half an hour): `-- 22 36` runs those numbers only."""
    install_packages(session, "matplotlib", "scikit-learn", "scipy")
    for path in sorted((ROOT / "packages" / "aihw-torch" / "examples").glob("*.py")):
        number = path.name.partition("_")[0]
        if not session.posargs or number in session.posargs:
            launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2") if number == "20" else ()
            # Matrices of this size gain nothing from more threads.
            session.run("python", *launcher, str(path), env={"OMP_NUM_THREADS": "1"})


@nox.session(requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the tests of all packages; arguments after `--` go to pytest."""
    install_packages(session, *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(requires=["build"])
def lint(session: nox.Session) -> None:
    """Check style, types, version constraints, changelogs and files."""
    install_packages(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", "noxfile.py", "dev", "benchmarks")
    session.run("mypy", *(argument for name in PACKAGES for argument in ("-p", MODULES[name])))
    session.run("python", "dev/check_versions.py")
    session.run("python", "dev/check_files.py")


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Build the documentation with warnings as errors and run its examples."""
    install_packages(session, *group("docs"))
    for builder in ("html", "doctest"):
        session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", builder, "docs", f"docs/_build/{builder}")


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after `--` go to pytest (pytest-benchmark)."""
    install_packages(session, *group("bench"))
    session.run("python", "-m", "pytest", "benchmarks", *session.posargs)


@nox.session
def bench_compare(session: nox.Session) -> None:
    """Compare the speed of rpu-sim with another commit's: `-- BASE [arguments of dev/bench_compare.py]`."""
    if not session.posargs:
        session.error("Name the commit to compare with: nox -s bench_compare -- main")
    base, *arguments = session.posargs
    install(session, *build_requirements("rpu-sim"), *group("bench"))
    tmp = Path(session.create_tmp()).resolve()
    trees = {"base": tmp / "base-tree", "head": ROOT}
    session.run("git", "worktree", "prune", external=True)  # what an interrupted run left
    session.run("git", "worktree", "add", "--force", "--detach", str(trees["base"]), base, external=True)
    options = []
    try:
        for side, tree in trees.items():
            build_native(session, tree, tmp / side, tmp / f"{side}-native")
            python = new_environment(session, tmp / f"{side}-env", wheel(tmp / side, "rpu-sim"))
            options += [f"--{side}", python]
        session.run("python", "dev/bench_compare.py", *options, *arguments)
    finally:
        session.run("git", "worktree", "remove", "--force", str(trees["base"]), external=True)


@nox.session(requires=["build"])
def bench_peer(session: nox.Session) -> None:
    """Compare with the peer toolkit, built on first use (minutes; needs a BLAS); `--` passes on to benchmarks.peer."""
    install_packages(session, *group("bench"))
    environment = ROOT / ".nox" / "peer"
    session.run("python", "dev/install_peer.py", str(environment))
    session.run("python", "-m", "benchmarks.peer", "--peer", str(environment / "bin" / "python"), *session.posargs)


@nox.session(requires=["build"])
def fuzz(session: nox.Session) -> None:
    """Run the tests on random configurations, shapes and calls with many more examples (an hour)."""
    install_packages(session, *group("test-core"))
    test = "packages/rpu-sim/tests/test_fuzz.py"
    session.run("python", "-m", "pytest", "--hypothesis-profile=fuzz", test, *session.posargs)


@nox.session(requires=["build"])
def campaign(session: nox.Session) -> None:
    """Run the cases that the tests leave out: whole grids, of which they run a share in which every two values meet."""
    install_packages(session, *group("test"))
    session.run("python", "-m", "pytest", "-m", "campaign", *session.posargs)


@nox.session(requires=["build"])
def oracle(session: nox.Session) -> None:
    """Compare with the reference statistics and write docs/oracle.md; `-- FILE.csv` writes the rows elsewhere."""
    install_packages(session, *group("test-core"))
    session.run("python", "dev/oracle_table.py", *session.posargs)


@nox.session(requires=["build"])
def repro(session: nox.Session) -> None:
    """Reproduce published results: `-- NAME [options]`, where NAME is a file of dev/repro."""
    names = sorted(path.stem for path in (ROOT / "dev" / "repro").glob("*.py"))
    if not session.posargs or session.posargs[0] not in names:
        session.error(f"Name what to reproduce, one of {', '.join(names)}: nox -s repro -- {names[0]}")
    install_packages(session, "matplotlib", "scikit-learn")
    session.run("python", f"dev/repro/{session.posargs[0]}.py", *session.posargs[1:])


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of rpu-sim with the address and undefined-behaviour sanitizers (GCC or Clang on Linux)."""
    install(session, *build_requirements("rpu-sim"), *group("test-core"))
    # Python itself is not instrumented, so the sanitizer's library has to be loaded first, with the C++ library whose
    # exceptions it watches; and Python has leaks at exit.
    compiler = os.environ.get("CXX", "g++")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    env = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    # The kernels are written once, so three pack widths (1, 8 and 16, or 4) find what all levels would.
    defines = ("RPU_SANITIZE=ON", "RPU_EMULATED_CUDA=ON", "RPU_ONLY_LEVELS=scalar;v3;v4x;aarch64")
    options = [word for define in defines for word in ("-C", f"cmake.define.{define}")]
    options += ["-C", f"build-dir={ROOT / '.nox' / 'native-sanitize'}"]
    install_options = ("--no-build-isolation", "--no-deps", "--force-reinstall")
    session.install(*install_options, *options, "packages/rpu-sim")
    # The sanitizers write to the file descriptor, which pytest must not capture.
    session.run("python", "-m", "pytest", "--capture=sys", "packages/rpu-sim/tests", *session.posargs, env=env)


@nox.session(requires=["build"], reuse_venv=False)
@nox.parametrize("package", STANDALONE, ids=STANDALONE)
def isolation(session: nox.Session, package: str) -> None:
    """Install one package alone, from wheels only, and use it: it must need nothing but what it declares."""
    install(session, "--only-binary", ":all:", wheel(WHEELHOUSE, package))
    session.run("python", "-I", "dev/smoke.py", "--alone", package)


def audit_files(session: nox.Session, *files: str) -> None:
    """Check the content, tags, symbols and metadata of wheels and sdists."""
    session.run("python", "dev/audit_wheels.py", *(file for file in files if file.endswith(".whl")))
    session.run("twine", "check", "--strict", *files)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build sdists and from them wheels into dist/, audit them, and use the wheels in a clean environment."""
    DIST.mkdir(exist_ok=True)
    for old in [*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")]:
        if not old.name.startswith("rpu_sim_cu"):  # plugins come from wheels_cuda, or from other machines
            old.unlink()
    install(session, *group("release"))
    objects = Path(session.create_tmp()).resolve() / "native"
    shutil.rmtree(objects, ignore_errors=True)
    for name in PACKAGES:
        options = ("-C", f"build-dir={objects}") if name == "rpu-sim" else ()
        env = {"PIP_CONSTRAINT": str(CONSTRAINTS)}  # for the build environments, which pip makes itself
        session.run("python", "-m", "build", *options, "--outdir", str(DIST), f"packages/{name}", env=env, silent=True)
    session.run("python", "dev/check_isa_objects.py", str(objects))
    audit_files(session, *map(str, sorted(DIST.iterdir())))
    built = [wheel(DIST, name) for name in PACKAGES]
    python = new_environment(session, Path(session.create_tmp()).resolve() / "clean", *built)
    session.run(python, "-I", "dev/smoke.py", *PACKAGES, external=True)


@nox.session
def wheels_platform(session: nox.Session) -> None:
    """Build the release wheel of rpu-sim for this platform into wheelhouse/ and test it on every CPython."""
    install(session, "cibuildwheel")
    session.run("python", "-m", "cibuildwheel", "packages/rpu-sim", "--config-file", "dev/cibuildwheel.toml")


def cuda_compiler(session: nox.Session, *, local: bool) -> list[str]:
    """Return the options that choose nvcc: that of this machine, or NVIDIA's from PyPI, which is installed."""
    if local:
        return ["-C", "cmake.define.RPU_NVCC="]  # not that of an earlier run, which the build folder remembers
    install(session, *group("cuda"))
    find = "import importlib.util as u; print(*u.find_spec('nvidia').submodule_search_locations)"
    folder = session.run("python", "-c", find, silent=True)
    return ["-C", f"cmake.define.RPU_NVCC={Path(str(folder).strip()) / 'cu13' / 'bin' / 'nvcc'}"]


@nox.session
def wheels_cuda(session: nox.Session) -> None:
    """Build the CUDA plugin and audit it; `-- [local] [cu12] [90 ...]`: nvcc of this machine, name, architectures."""
    local, generation = "local" in session.posargs, "cu12" if "cu12" in session.posargs else "cu13"
    architectures = ";".join(word for word in session.posargs if word.isdigit())
    install(session, *group("release"), "scikit-build-core", "cmake", "ninja")
    tmp = Path(session.create_tmp()).resolve()
    package = tmp / "cuda"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "packages" / "rpu-sim" / "cuda", package, ignore=shutil.ignore_patterns("build"))
    project = package / "pyproject.toml"
    project.write_text(project.read_text().replace("rpu-sim-cu13", f"rpu-sim-{generation}"))
    objects = tmp / f"plugin-{generation}"
    options = ["-C", f"build-dir={objects}", "-C", f"cmake.define.RPU_PACKAGE={ROOT / 'packages' / 'rpu-sim'}"]
    options += cuda_compiler(session, local=local)
    if architectures:
        options += ["-C", f"cmake.define.RPU_CUDA_ARCHITECTURES={architectures}"]
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob(f"rpu_sim_{generation}-*.whl"):
        old.unlink()
    session.run(*PIP_WHEEL, "-w", str(DIST), *options, str(package))
    session.run("cmake", "--build", str(objects), "--target", "ptx")
    session.run("python", "dev/check_ptx.py", str(objects / "ptx"))
    audit_files(session, *map(str, DIST.glob(f"rpu_sim_{generation}-*.whl")))


@nox.session
def audit(session: nox.Session) -> None:
    """Audit the wheels and sdists named after `--`."""
    if not session.posargs:
        session.error("Name the files to audit: nox -s audit -- dist/*")
    install(session, *group("release"))
    audit_files(session, *session.posargs)


@nox.session(requires=["wheels"])
def release(session: nox.Session) -> None:
    """Show what a release would publish and tag (a dry run: it publishes and tags nothing)."""
    install(session, *group("release"))
    session.run("python", "dev/check_versions.py")
    session.run("python", "dev/release_plan.py", str(DIST))
