"""
Compiled core of rpu_sim; use rpu_sim.Tile and the functions of the package instead.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray


def isa() -> str:
    """Instruction-set level in use."""

def isa_levels() -> list[str]:
    """Levels that run on this machine, slowest first."""

def set_isa(name: str) -> None:
    """Use the instruction-set level `name`."""

def isa_lanes() -> int:
    """Cells per pack of the level in use."""

def num_threads() -> int:
    """Number of threads of the kernels."""

def set_num_threads(n: int) -> None:
    """Use `n` threads."""

def use_openmp(parallel: int, thread_number: int) -> None:
    """
    Run kernels on the threads of an OpenMP library with these functions, or with 0 on threads of our own.
    """

def plugin(path: str) -> tuple[str, str, str]:
    """Load a plugin; returns its version, its toolkit and its architectures."""

def plugin_devices(path: str) -> list[tuple[str, int, int, int]]:
    """
    Name, compute capability and bytes of memory of each device of a plugin.
    """

def offload(path: str, device: int = 0) -> None:
    """
    Send all calls to a device of a plugin, with copies of their arrays; an empty path ends it.
    """

class Device:
    """Kind and parameters of a pulsed device."""

    def __init__(self, dataclass: object) -> None: ...

class Cells:
    """Borrowed view of the weights and per-cell parameters of a tile."""

    def __init__(self, weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], fields: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]], reference: int = -1, visible: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None = None, write_noise: float = 0.0, counts: Annotated[NDArray[numpy.int64], dict(shape=(None, None, None), order='C')] | None = None) -> None: ...

def populate(device: Device, cells: Cells, seed: int) -> None:
    """Draw the device-to-device variation."""

def uniform(out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], low: float, high: float, seed: int, stream: int, step: int = 0) -> None:
    """Fill with uniform numbers in [low, high)."""

def clip(cells: Cells) -> None:
    """Clip the weights to the bounds of their devices."""

def decay(cells: Cells, alpha: float) -> None:
    """Let the weights decay towards their reset values."""

def diffuse(cells: Cells, seed: int, step: int) -> None:
    """Let the weights diffuse."""

def reset(cells: Cells, first_column: int, n_columns: int, probability: float, spread: float, seed: int, step: int) -> None:
    """Reset the devices of a window of columns."""

class UpdateSpec:
    """Update parameters, read once from the dataclass."""

    def __init__(self, dataclass: object) -> None: ...

    def check_rate(self, rate: float, granularity: float) -> None:
        """Raise unless trains are long enough for this learning rate."""

def update(cells: Cells, device: Device, spec: UpdateSpec, x: Annotated[NDArray[numpy.float32], dict(writable=False)], d: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], lr: float, granularity: float, seed: int, step: int, train_seed: int, train_step: int, first_sample: int, rates: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', writable=False)] | None = None, drive: int = 0, highest_rate: float = 0.0, counter: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C')] | None = None) -> tuple[int, int]:
    """Pulsed update in place; returns the numbers of up and down pulses."""

class Update:
    """The arguments of a pulsed update."""

    def __init__(self, cells: Cells, device: Device, spec: UpdateSpec, x: Annotated[NDArray[numpy.float32], dict(writable=False)], d: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], lr: float, granularity: float, seed: int, step: int, train_seed: int, train_step: int, first_sample: int, rates: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', writable=False)] | None = None, drive: int = 0, highest_rate: float = 0.0, counter: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C')] | None = None) -> None: ...

def updates(updates: Sequence[Update]) -> list[tuple[int, int]]:
    """
    Do updates of arrays that have nothing to do with each other; returns the numbers of up and down pulses of each.
    """

def fire(cells: Cells, device: Device, counts: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', writable=False)], seed: int, step: int, most: int = -1, counter: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C')] | None = None) -> tuple[int, int]:
    """
    Fire given numbers of pulses, positive ones up, `most` or fewer; returns the numbers of up and down pulses.
    """

class Kernel:
    """
    Size, stride and dilation of a kernel; without dimensions, samples are rows.
    """

    def __init__(self, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> None: ...

def layer_gradients(kernel: Kernel, d: object, x: object, shape: Sequence[int], channels_last: bool, copy: object | None, outputs: int, scale: object | None, n_scales: int, z: object | None, bound: float, range: float, clips: bool, decay: float, wanted: float, dx: object | None, dw: object | None, db: object | None, dr: object | None) -> None:
    """
    Write the gradients of `AnalogProduct.layer` that are wanted; dx lies in memory as x.
    """

def name_tensors(type: object, api: object) -> None:
    """
    Let tensors of a type be viewed with the C functions of its `__dlpack_c_exchange_api__`.
    """

def rows_of_tensors(x: object | None, x_width: int, d: object | None, d_width: int) -> tuple[Any, Any] | None:
    """
    Two tensors of the type that was named, with the same leading shape, as matrices on their memory; None unless both are contiguous float32 of these widths on the CPU.
    """

class Reader:
    """Converters through which an array is read."""

class AnalogProduct(Reader):
    """Matrix-vector product of a tile in one direction."""

    def __init__(self, io_parameters: object, backward: bool, weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], running_mean: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')] | None = None, out_noise: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')] | None = None, nonlinearity: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')] | None = None, voltage_offset: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')] | None = None, read_asymmetry: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None = None, physical_inputs: int = 0) -> None: ...

    def draw_constants(self, seed: int) -> None:
        """Fill the arrays of constants that are drawn once per tile."""

    def __call__(self, input: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], output: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], seed: int, step: int, first_sample: int, freeze_mean: bool = False, weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None = None) -> None:
        """
        Write the product of every sample of `input` to `output`, with other weights of the same shape if given.
        """

    def windows(self, input: Annotated[NDArray[numpy.float32], dict(writable=False)], leading: int, output: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], seed: int, step: int, first_sample: int, freeze_mean: bool = False, weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None = None) -> None:
        """
        The same for samples that are windows of `input`, whose first `leading` axes count them.
        """

    def layer(self, x: object, shape: Sequence[int], channels_last: bool, kernel: Kernel, weights: object, scale: object | None, n_scales: int, range: float, bias: object | None, modifier: ModifierSpec | None, seed: int, step: int, first_sample: int, freeze_mean: bool, copy: object | None, z: object, y: object) -> tuple[float, float]:
        """
        The product between the digital ends of a layer; returns the largest |x|, if it was looked for, and |z|.
        """

class TensorProduct:
    """Products of a tile in one direction, for tensors."""

    def __init__(self, product: AnalogProduct, seed: int, steps: dict[str, int], direction: str) -> None: ...

    def __call__(self, input: object | None, step: object | None = None, freeze_mean: bool = False) -> object:
        """
        The product of a tensor [..., inputs] as a new one, with the noise of a step or of the next one, which is counted in `steps`; None, uncounted, unless it is contiguous float32 of this width on the CPU and of the type that was named.
        """

def products(products: Sequence[AnalogProduct], inputs: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)]], outputs: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]], seeds: Sequence[int], steps: Sequence[int], first_sample: int, freeze_mean: bool = False) -> None:
    """
    Write several products, which have nothing to do with each other, to their outputs.
    """

def rank_update(weights: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], d: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], lr: float) -> None:
    """Subtract lr * d^T x from the weights, in place."""

class ModifierSpec:
    """What is done to a modified copy of the weights."""

    def __init__(self, dataclass: object, noise: Sequence[float], log_time: float, read_noise: float) -> None: ...

def modify_weights(spec: ModifierSpec, w: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C')], seed: int, step: int, first_sample: int) -> None:
    """Modified copies of the weights."""

def clip_weights(dataclass: object, w: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]) -> None:
    """Clip to a bound."""

class ClipSpec:
    """The bound of weights."""

    def __init__(self, dataclass: object) -> None: ...

def is_clipped(spec: ClipSpec, w: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)]) -> bool:
    """Whether clipping to a bound would change nothing."""

def clip_in_place(spec: ClipSpec, w: object, rows: int, cols: int, scales: object | None, n_scales: int) -> bool:
    """
    Clip w / scales to a bound, in w, whose other elements keep their bits; returns whether any was beyond it.
    """

def remap_weights(dataclass: object, w: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')]) -> None:
    """Rescale to the range of the devices; the scales are changed in place."""

class TransferBuffer:
    """Digital buffer between two arrays."""

    def __init__(self, buffer: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], out_sign: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')], mean: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None, past: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')] | None, threshold: float, most_steps: float, kept: float, forgets: bool, keeps: bool, cap: float, mean_weight: float) -> None: ...

    def __call__(self, read: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], steps: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], slice: int, gain: float, starts_phase: bool) -> bool:
        """Add a read and take whole steps; returns whether there are any."""

def take_whole_steps(chi: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], counts: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C')], threshold: float, most: float, first_row: int, n_rows: int) -> int:
    """
    Take whole steps out of rows of chi, as numbers of pulses; returns the largest number.
    """

class CellArray:
    """Cells as an array of a compound."""

    def __init__(self, cells: object, is_array: bool) -> None: ...

class TransferEdge:
    """The transfer between two arrays."""

    def __init__(self, rule: object, held: dict[str, Any], buffer: TransferBuffer | None, reader: Reader, source: CellArray, target: CellArray, write_rule: object, step_rule: object, slices: int, length: int) -> None: ...

    def set_key(self, key: int) -> None:
        """Take another key."""

class Compound:
    """The step of a compound: pulses of its fast array, and transfers."""

    def __init__(self, fast: CellArray, edges: list[TransferEdge], counters: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C')], maxima: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')] | None, momentum: float) -> None: ...

    def step(self, rule: object, x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], d: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], lr: float, fast_rate: float, train_seed: int, train_step: int, first_sample: int, granularity: float, rates: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', writable=False)] | None, periods: Sequence[int]) -> None:
        """One update call."""

def write(cells: Cells, seed: int, step: int) -> None:
    """Show every stored weight with fresh write noise."""

class Drift:
    """
    Parameters of the drift, and borrowed views of what the cells remember.
    """

    def __init__(self, dataclass: object, nu: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], age: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], start: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], seen: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]) -> None: ...

def drift(cells: Cells, state: Drift, duration: float, seed: int, step: int) -> None:
    """Let the stored weights drift for a duration in units of t_0."""

def follow_drift(cells: Cells, state: Drift, before: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]) -> None:
    """Take over a change of the stored weights that is no write."""

def draw_drift_exponents(cells: Cells, state: Drift, seed: int) -> None:
    """Draw the drift exponent of every cell."""

def copy_windows(windows: Annotated[NDArray[numpy.float32], dict(writable=False)], leading: int, rows: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]) -> None:
    """Copy windows, whose first `leading` axes count samples, to rows."""

def add_windows(rows: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], windows: NDArray[numpy.float32], leading: int) -> None:
    """Add rows to windows, which may overlap, in the order of the samples."""

def add_gpu(path: str, index: int, type: int, runtime: object) -> None:
    """Let arrays of a DLPack device be computed on by a plugin."""

class GpuMemory:
    """Memory on a GPU."""

    def __init__(self, type: int, index: int, bytes: int) -> None: ...

    @property
    def address(self) -> int: ...

def gpu_view(owner: object, address: int, type: int, index: int, shape: Sequence[int], dtype: str, strides: Sequence[int] = []) -> Any:
    """An array on memory of a GPU; strides in elements."""

def copy(to: object, from_: object) -> None:
    """
    Copy between the host and a GPU, or on a GPU; only a copy to the host waits.
    """

def take_faults(type: int, index: int) -> bool:
    """
    Wait for a GPU; returns whether an input was NaN or infinite since the last time.
    """

def combine(out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], source: Annotated[NDArray[numpy.float32], dict(shape=(None, None), writable=False)], factor: float = 1.0, adds: bool = False, rows: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', writable=False)] | None = None, columns: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', writable=False)] | None = None) -> None:
    """
    out = factor * source, times factors of rows and columns; or that added to out.
    """
