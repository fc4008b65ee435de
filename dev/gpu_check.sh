#!/bin/sh
# What a machine with a GPU has to show, in two calls of at most seven minutes each: first that the plugin computes the bits
# of the CPU there, then that it is clean under compute-sanitizer, that layers learn, and how long operations take.
#
#   dev/gpu_check.sh FOLDER bits     needs Python >= 3.11 with pip, a driver, and what is installed below
#   dev/gpu_check.sh FOLDER more     uses what the first call left in FOLDER, or builds it again
#
# Each step writes FOLDER/<step>.log; a step that fails does not keep the others from running. The limits of the steps of a
# call add up to at most 420 seconds.
#
#   WHEELS=folder    takes packages from there and nothing from an index: what is missing of the list below, and wheels of
#                    rpu-sim (abi3) and rpu-sim-cu13 where they are built elsewhere, which saves the minutes of a build;
#                    else a C++ compiler and nvcc build both, at the same time
#   TORCH=1          installs torch with CUDA for the layers, if Python does not have it (not within the limits)
set -u
OUT=$(mkdir -p "${1:?name a folder for the results}" && cd "$1" && pwd)
PART=${2:?say which part: bits or more}
export WHEELS=${WHEELS:+$(cd "$WHEELS" && pwd)}
ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT" || exit 1
FAILED=""

step() { # name, seconds, command...
  name=$1; seconds=$2; shift 2
  echo "== $name"
  timeout "$seconds" "$@" >"$OUT/$name.log" 2>&1 || FAILED="$FAILED $name"
  tail -n 3 "$OUT/$name.log"
}

# Beside the packages that Python has, also where its own folders are read-only or in a virtual environment.
SITE="$OUT/site"
INSTALL="python3 -m pip install -q --no-warn-script-location --upgrade --target $SITE ${WHEELS:+--no-index --find-links $WHEELS}"
missing() { python3 - "$@" <<'PY'
import importlib.metadata as m, sys
for name in sys.argv[1:]:
    try: m.version(name)
    except m.PackageNotFoundError: print(name)
PY
}
has_wheel() { [ -n "$WHEELS" ] && ls "$WHEELS"/"$1"-*.whl >/dev/null 2>&1; }

build_core() {
  if has_wheel rpu_sim; then $INSTALL --no-deps rpu-sim; return; fi
  CMAKE_ARGS="-DRPU_ONLY_LEVELS=v4x;v3;scalar" $INSTALL --no-build-isolation --no-deps ./packages/rpu-sim
}
build_plugin() {
  if has_wheel rpu_sim_cu13; then $INSTALL --no-deps rpu-sim-cu13; return; fi
  options="-DRPU_CUDA_ARCHITECTURES=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)"
  if ! command -v nvcc >/dev/null; then # that of PyPI, as in noxfile.py
    $INSTALL $(python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["cuda"])')
    nvidia=$(python3 -c 'import importlib.util as u; print(*u.find_spec("nvidia").submodule_search_locations)')
    options="$options -DRPU_NVCC=$nvidia/cu13/bin/nvcc"
  fi
  CMAKE_ARGS="$options" $INSTALL --no-build-isolation --no-deps ./packages/rpu-sim/cuda
}
build() { # both at once
  build_core & core=$!
  build_plugin; plugin=$?
  wait "$core" && [ "$plugin" = 0 ]
}

prepare() { # at most 160 seconds
  packages=$(missing scikit-build-core nanobind nanobind-backend cmake ninja numpy pytest hypothesis scipy pytest-benchmark \
    tqdm array-api-compat)
  [ -z "$packages" ] || step install 40 $INSTALL -c constraints.txt $packages
  step build 120 sh "$ROOT/dev/gpu_check.sh" "$OUT" build # a process, so that `timeout` ends all of it
  python3 -c 'import rpu_sim, rpu_sim_cuda' && touch "$SITE/built" || FAILED="$FAILED build"
}

export PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" # where installers leave nvcc and compute-sanitizer
nvidia-smi >"$OUT/nvidia-smi.log" 2>&1
export PATH="$PATH:$SITE/bin" PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}"
if [ "$PART" = build ]; then build; exit; fi
[ -e "$SITE/built" ] || prepare
TESTS="packages/rpu-sim/tests"
PYTEST="python3 -m pytest -q -p no:cacheprovider"
python3 -c 'import xdist' 2>/dev/null && PYTEST="$PYTEST -n 8"

if [ "$PART" = bits ]; then # 260 seconds
  step doctor 20 python3 -m rpu_sim doctor
  cat "$OUT/doctor.log"
  # The first kernels that run: all that follows has little to say where these do not.
  step smoke 40 python3 dev/gpu_smoke.py
  # Tiles that live on the GPU, then every exactness test with its calls sent to the GPU.
  step tiles 80 $PYTEST $TESTS/test_gpu_*.py $TESTS/test_cuda_plugin.py
  step exact 120 $PYTEST -k "cuda" $TESTS/test_exact_cells.py $TESTS/test_exact_update.py $TESTS/test_exact_mvm.py \
    $TESTS/test_exact_weights.py $TESTS/test_exact_stored.py $TESTS/test_exact_flow.py $TESTS/test_exact_unit_cells.py \
    $TESTS/test_together.py $TESTS/test_exact_mvm_random.py $TESTS/test_windows.py
else # 260 seconds
  if [ "${TORCH:-}" = 1 ]; then step torch 240 $INSTALL -c constraints.txt torch; fi
  if python3 -c 'import torch' 2>/dev/null; then
    for package in aihw-torch aihw-presets aihw-inference; do
      PYTHONPATH="$PYTHONPATH:$ROOT/packages/$package/src"
    done
    # A warning of torch about the machine must not hide what the layers do.
    step layers 60 python3 -m pytest -q -W default -p no:cacheprovider packages/aihw-torch/tests/gpu_*.py
  fi
  step times 60 python3 dev/gpu_smoke.py --times
  cat "$OUT/times.log"
  if command -v compute-sanitizer >/dev/null; then
    step memcheck 40 compute-sanitizer --tool memcheck --error-exitcode 9 python3 dev/gpu_smoke.py
    step racecheck 40 compute-sanitizer --tool racecheck --error-exitcode 9 python3 dev/gpu_smoke.py
    step synccheck 30 compute-sanitizer --tool synccheck --error-exitcode 9 python3 dev/gpu_smoke.py
    step initcheck 30 compute-sanitizer --tool initcheck --error-exitcode 9 python3 dev/gpu_smoke.py
  fi
fi

echo "failed:${FAILED:- nothing}"
[ -z "$FAILED" ]
