"""Hardware-aware training, and inference on programmed devices: tiles, drift, calibration, evaluation."""

from __future__ import annotations

from aihw_inference import InputRangeCalibrationType
from aihw_torch.inference.calibrate import (
    LayerRanges,
    calibrate,
    calibrate_input_ranges,
    format_ranges,
    range_statistics,
)
from aihw_torch.inference.devices import ModelDevices
from aihw_torch.inference.evaluation import DriftTable, accuracy, evaluate_over_time
from aihw_torch.inference.model import drift_analog_weights, inference_tiles, program_analog_weights
from aihw_torch.inference.optimizer import WeightProgrammingOptimizer
from aihw_torch.inference.programmed import ProgrammedTile
from aihw_torch.inference.tile import InferenceTile

__all__ = [
    "DriftTable",
    "InferenceTile",
    "InputRangeCalibrationType",
    "LayerRanges",
    "ModelDevices",
    "ProgrammedTile",
    "WeightProgrammingOptimizer",
    "accuracy",
    "calibrate",
    "calibrate_input_ranges",
    "drift_analog_weights",
    "evaluate_over_time",
    "format_ranges",
    "inference_tiles",
    "program_analog_weights",
    "range_statistics",
]
