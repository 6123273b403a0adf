"""The process of a model of others: numbers in as JSON on stdin, numbers out on stdout.

``python -m ionbridge.screening.planning.foreign_process KIND FILE``. Nothing is unpickled:
skops refuses types that it does not know to be harmless, ONNX and TorchScript files are graphs.
What the model prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

LARGEST_MEMORY = 16 * 2**30
LONGEST_CPU_S = 600


def main(kind: str, path: Path) -> int:
    """Load, predict, answer; one line on stderr where that cannot be done."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    rows = json.load(sys.stdin)
    try:
        values = PREDICTORS[kind](path, rows)
        flat = [float(v) for v in values]
    except ModuleNotFoundError as error:
        print(f"needs the package {error.name}: pip install 'ionbridge[models]'", file=sys.stderr)
        return 2
    except Exception as error:  # a model may be anybody's
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    json.dump([v if v == v and abs(v) != float("inf") else None for v in flat], answers)
    answers.flush()
    return 0


def _sklearn(path: Path, rows: Any) -> Any:
    import numpy as np
    from skops.io import get_untrusted_types, load

    unknown = get_untrusted_types(file=path)
    if unknown:
        raise ValueError(f"holds types that are not known to be harmless: {', '.join(unknown)}")
    return np.ravel(load(path, trusted=[]).predict(np.array(rows, dtype=float)))


def _onnx(path: Path, rows: Any) -> Any:
    import numpy as np
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"takes {len(inputs)} inputs; expected one of shape (rows, features)")
    kind = np.float64 if "double" in inputs[0].type else np.float32
    return np.ravel(session.run(None, {inputs[0].name: np.array(rows, dtype=kind)})[0])


def _torchscript(path: Path, rows: Any) -> Any:
    import torch

    model = torch.jit.load(str(path), map_location="cpu").eval()
    with torch.no_grad():
        return model(torch.tensor(rows, dtype=torch.float32)).ravel().tolist()


PREDICTORS = {"sklearn": _sklearn, "onnx": _onnx, "torchscript": _torchscript}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
