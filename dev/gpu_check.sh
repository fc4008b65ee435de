#!/bin/sh
# What a machine with a GPU has to show, in ten minutes: the plugin builds for its GPU, computes the bits of the CPU, and is
# clean under compute-sanitizer; then how long the large operations take.
#
#   dev/gpu_check.sh FOLDER     needs Python >= 3.11 with venv, a C++ compiler, nvcc (or access to PyPI) and a driver
#
# Each step writes FOLDER/<step>.log; a step that fails does not keep the others from running. With TORCH=1 the layers of
# aihw-torch are tested as well, for which it installs torch with CUDA first, or TORCH=/path/to/python that has it.
set -u
START=$(date +%s)
OUT=$(mkdir -p "${1:?name a folder for the results}" && cd "$1" && pwd)
ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT" || exit 1
FAILED=""

step() { # name, seconds, command...
  name=$1; seconds=$2; shift 2
  left=$((600 - $(date +%s) + START))
  [ "$left" -lt 5 ] && { echo "== $name: no time left"; FAILED="$FAILED $name"; return; }
  [ "$left" -lt "$seconds" ] && seconds=$left
  echo "== $name"
  timeout "$seconds" "$@" >"$OUT/$name.log" 2>&1 || FAILED="$FAILED $name"
  tail -n 3 "$OUT/$name.log"
}

nvidia-smi >"$OUT/nvidia-smi.log" 2>&1
ARCH=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
python3 -m venv "$OUT/env" && . "$OUT/env/bin/activate" || exit 1
step install 120 pip install -q -c constraints.txt scikit-build-core nanobind nanobind-backend cmake ninja numpy pytest \
  hypothesis scipy pytest-benchmark tqdm array-api-compat
export CMAKE_ARGS="-DRPU_ONLY_LEVELS=v4x;v3;scalar"
step core 180 pip install -q --no-build-isolation --no-deps ./packages/rpu-sim
export PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" # where installers leave nvcc and compute-sanitizer
CMAKE_ARGS="-DRPU_CUDA_ARCHITECTURES=$ARCH"
if ! command -v nvcc >/dev/null; then # that of PyPI, as in noxfile.py
  step nvcc 120 pip install -q $(python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["cuda"])')
  NVIDIA=$(python -c 'import importlib.util as u; print(*u.find_spec("nvidia").submodule_search_locations)')
  CMAKE_ARGS="$CMAKE_ARGS -DRPU_NVCC=$NVIDIA/cu13/bin/nvcc"
fi
step plugin 180 pip install -q --no-build-isolation --no-deps ./packages/rpu-sim/cuda
step doctor 60 python -m rpu_sim doctor
cat "$OUT/doctor.log"
# The first kernels that run: all that follows has little to say where these do not.
step smoke 60 python dev/gpu_smoke.py

# Bits: every exactness test with its calls sent to the GPU.
TESTS="packages/rpu-sim/tests"
step exact 240 python -m pytest -q -p no:cacheprovider -k "cuda" $TESTS/test_exact_cells.py $TESTS/test_exact_update.py \
  $TESTS/test_exact_mvm.py $TESTS/test_exact_mvm_random.py $TESTS/test_exact_weights.py $TESTS/test_exact_stored.py \
  $TESTS/test_exact_flow.py $TESTS/test_exact_unit_cells.py
# Tiles that live on the GPU.
step tiles 120 python -m pytest -q -p no:cacheprovider $TESTS/test_gpu_tiles.py
step plugin-tests 60 python -m pytest -q -p no:cacheprovider $TESTS/test_cuda_plugin.py

for tool in memcheck synccheck racecheck initcheck; do
  command -v compute-sanitizer >/dev/null || break
  step "$tool" 90 compute-sanitizer --tool "$tool" --error-exitcode 9 python dev/gpu_smoke.py
done
step times 90 python dev/gpu_smoke.py --times
cat "$OUT/times.log"

if [ -n "${TORCH:-}" ]; then
  if [ "$TORCH" = 1 ]; then
    PYTHON=python
    step torch 240 pip install -q -c constraints.txt torch
  else
    PYTHON=$TORCH
  fi
  export PYTHONPATH="$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
  for package in aihw-torch aihw-presets aihw-inference; do PYTHONPATH="$PYTHONPATH:$ROOT/packages/$package/src"; done
  # A warning of torch about the machine must not hide what the layers do.
  step layers 120 "$PYTHON" -m pytest -q -W default -p no:cacheprovider packages/aihw-torch/tests/gpu_layers.py
fi

echo "failed:${FAILED:- nothing}"
[ -z "$FAILED" ]
