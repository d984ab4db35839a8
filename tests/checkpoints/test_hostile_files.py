"""Whatever a checkpoint says: nothing of it runs, it costs little, and the refusal is one line that helps."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import hostile_containers
import hostile_files as h
import hostile_networks
import hostile_pickles
from hostile_catalogue import CASES, LOADS, Honest

from stylegraft.checkpoints import Source, base_digest, load, save_source
from stylegraft.checkpoints.numpy_pickles import parse_arrays
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

HERE = Path(__file__).parent
# Of the processor, a file: 0.8 on an idle AVX-512 core, 2.5 measured on an older one with a busy sibling.
SECONDS = 4.0
BYTES = 200 << 20  # above what torch and stylegraft take
LINE = 500  # letters of a refusal, without the path
CUTS = ("NVIDIA pickle", "storage in a pickle", "TensorFlow pickle", "stream", "zip", "safetensors")
FILLED = (hostile_pickles, hostile_networks, hostile_containers)  # imported for the cases that they add
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="files are read in forks, whose memory Linux counts"
)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    folder = tmp_path_factory.mktemp("hostile")
    torch.manual_seed(0)
    source = Source("tiny", build_generator(dict(h.CONFIG)), build_discriminator(dict(h.D_CONFIG)), {})
    path = folder / "native.safetensors"
    save_source(path, source, torch.float32)
    return Honest(*h.tiny(), folder, path.read_bytes())


def good_files(honest: Honest) -> dict[str, bytes]:
    return {
        "nvidia.pkl": honest.nvidia(),
        "tensorflow.pkl": honest.tensorflow(),
        "stream.pt": h.legacy(honest.pt),
        "zip.pt": h.modern(honest.pt),
        "native.safetensors": honest.native,
    }


@pytest.fixture(scope="module")
def verdicts(honest: Honest) -> dict[str, list[dict[str, Any]]]:
    """What became of every file, by case, each family of them read in a fork of one process that has torch."""
    folder = honest.folder
    warm = [h.write(folder / name, data) for name, data in good_files(honest).items()]
    (folder / "traps").mkdir()
    (folder / "traps" / "trapdoor.py").write_text("open('ran', 'w')\ndef run(*_): open('ran', 'w')\n")
    groups: dict[str, list[tuple[str, Path]]] = {}
    for i, (name, case) in enumerate(CASES.items()):
        made = case.make(honest)
        path = h.write(folder / f"{i}.pkl", made) if isinstance(made, bytes) else made
        groups.setdefault(name.split(":")[0], []).append((name, path))
    for kind, (data, points) in hostile_containers.cuts(honest).items():
        (folder / kind).mkdir()
        cut = [h.write(folder / kind / f"{at}.bin", data[:at]) for at in sorted(set(points)) if at]
        groups[f"cut: {kind}"] = [(f"cut: {kind}", path) for path in cut]
    for i, data in enumerate(hostile_containers.lacking(honest).values()):
        groups["zip"].append(("zip: a member missing", h.write(folder / f"lacking {i}.pt", data)))
    manifest = {
        "warm": [str(path) for path in warm],
        "traps": str(folder / "traps"),
        "groups": [[str(path) for _, path in files] for files in groups.values()],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    run = subprocess.run(
        [sys.executable, str(HERE / "hostile_warden.py"), "manifest.json"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == len(groups), run.stderr[-2000:]
    found: dict[str, list[dict[str, Any]]] = {}
    for files, line in zip(groups.values(), lines, strict=True):
        for i, (name, path) in enumerate(files):
            one = line["files"][i] if line["files"] else {"verdict": f"died with {line['status']}"}
            found.setdefault(name, []).append({**one, "path": path, "printed": line["printed"]})
    return found


@linux
@pytest.mark.timeout(600)  # the first of them waits for all files to be read
@pytest.mark.parametrize("name", [*CASES, *(f"cut: {kind}" for kind in CUTS), "zip: a member missing"])
def test_a_hostile_file_runs_nothing_costs_little_and_is_refused_in_one_line(
    name: str, verdicts: dict[str, list[dict[str, Any]]], honest: Honest
) -> None:
    says = CASES[name].says if name in CASES else None
    for file in verdicts[name]:
        assert file["verdict"] in ("refused", "loads"), file
        assert file["seconds"] < SECONDS
        assert file["bytes"] < BYTES
        assert file["events"] == [], "the interpreter saw it run, import, unpickle or write something"
        assert file["modules"] == [], "it imported something"
        assert file["printed"] == ""
        if file["verdict"] == "loads":
            assert says is not None and "loads" in says, "it was read"
            continue
        line = file["said"].removeprefix(f"{file['path']}: ")
        assert line != file["said"], f"{line}: does not begin with the path"
        assert line.isprintable() and 12 <= len(line) < LINE, line[:LINE]
        assert says != LOADS and re.search(says or "", line), line
    assert not (honest.folder / "ran").exists()


@linux
def test_what_is_harmless_is_passed_over_and_the_networks_come_out_bit_for_bit(
    verdicts: dict[str, list[dict[str, Any]]], honest: Honest
) -> None:
    digests = {
        base_digest(load(honest.folder / name).generator)
        for name in good_files(honest)
        if not name.startswith("tensorflow")  # the writer of the tests does not turn the kernels
    }
    assert len(digests) == 1
    beside = [file for name, case in CASES.items() if case.says == LOADS and not name.startswith("size")
              for file in verdicts[name] if "network's name" not in name and "setting" not in name]  # fmt: skip
    assert len(beside) > 60
    assert {file["said"] for file in beside} == digests


def test_the_catalogue_is_long():
    families = {name.split(":")[0] for name in CASES}
    assert len(families) >= 25 and len(CASES) >= 700


# --- Fuzzing: 300 files a reader here, 10,000 in benchmarks/fuzz_checkpoints.py ---

fuzz = settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
STEPS = st.lists(
    st.builds(
        h.Step,
        st.sampled_from(h.KINDS_OF_STEPS),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(h.SIZES),
        st.one_of(st.sampled_from(h.PIECES), st.binary(max_size=20)),
    ),
    min_size=1,
    max_size=4,
)


def check(path: Path, data: bytes) -> None:
    """Load it whole, or refuse it in one line."""
    path.write_bytes(data)
    try:
        source = load(path)
        assert all(bool(tensor.isfinite().all()) for tensor in source.generator.state_dict().values())
    except StylegraftError as error:
        line = str(error).removeprefix(f"{path}: ")
        assert line != str(error) and line.isprintable() and len(line) < LINE, line


WHOLE: dict[str, Callable[[Honest], bytes]] = {
    "nvidia": lambda o: h.dump({"G_ema": h.module(o.g)}),
    "tensorflow": lambda o: h.tensorflow(o.g, o.d),
    "stream": lambda o: h.legacy(h.rosinality(o.g)),
    "zip": lambda o: h.modern(h.rosinality(o.g)),
    "native": lambda o: o.native,
}


@pytest.mark.parametrize("reader", WHOLE)
def test_a_damaged_file_raises_our_error_only(reader: str, honest: Honest) -> None:
    good = WHOLE[reader](honest)
    bounds = {"nvidia": lambda: h.opcodes(good), "tensorflow": lambda: h.opcodes(good)}.get(reader, list)()
    path = honest.folder / "fuzzed"

    @fuzz
    @given(STEPS, st.booleans())
    def fuzzed(steps: list[h.Step], structured: bool) -> None:
        if reader == "zip" and structured:
            inside = h.members(h.rosinality(honest.g))
            code = inside["archive/data.pkl"]
            check(path, h.archive({**inside, "archive/data.pkl": h.changed(code, steps, h.opcodes(code))}))
        elif reader == "zip":
            check(path, h.reseal(h.changed(good, steps)))
        elif reader == "native" and structured:
            check(path, h.redigested(good, lambda config: h.spoil(config, steps)))
        else:
            check(path, h.changed(good, steps, bounds if structured else ()))

    fuzzed()


@pytest.mark.parametrize("kind", ["nvidia", "tensorflow", "stream", "zip"])
def test_a_value_with_odd_parts_raises_our_error_only(kind: str, honest: Honest) -> None:
    g = honest.without("b8.conv0", "fc1")  # fewer parts, so that more of the changes meet
    odd = h.odd_values()
    path = honest.folder / "odd"
    values = {
        "nvidia": lambda: {"G_ema": h.module(g)},
        "tensorflow": lambda: h.tensorflow_value(g, honest.d)[2:],
        "stream": lambda: h.rosinality(g),
        "zip": lambda: h.rosinality(g),
    }
    value = values[kind]()
    write = {"stream": h.legacy, "zip": h.modern}.get(kind, h.dump)

    @settings(fuzz, max_examples=100)
    @given(st.integers(0, 1 << 30), st.sampled_from([0.002, 0.01, 0.05]))
    def fuzzed(seed: int, share: float) -> None:
        check(path, write(h.altered(value, random.Random(seed), odd, share)))

    fuzzed()


def test_any_opcodes_raise_our_error_only(honest: Honest) -> None:
    path = honest.folder / "opcodes"
    head = b"".join(h.dump(part, 2) for part in (h.MAGIC, 1001, {"little_endian": True}))

    @fuzz
    @given(st.lists(st.sampled_from(h.PIECES), max_size=40), st.sampled_from([2, 3, 4, 5]))
    def fuzzed(pieces: list[bytes], protocol: int) -> None:
        code = b"\x80" + bytes([protocol]) + b"".join(pieces) + b"."
        check(path, code)
        check(path, head + code)

    fuzzed()


@fuzz
@given(STEPS, st.lists(st.sampled_from(h.PIECES), max_size=30), st.booleans())
def test_a_damaged_numpy_pickle_raises_our_error_only(
    steps: list[h.Step], pieces: list[bytes], random_opcodes: bool
) -> None:
    import numpy as np

    good = h.dump({"Net": {"kernel": np.zeros((2, 3), np.float32), "bias": np.ones(3)}, "n": np.arange(3)})
    data = (
        b"\x80\x03" + b"".join(pieces) + b"."
        if random_opcodes
        else h.changed(good, steps, h.opcodes(good) if steps[0].size % 2 else ())
    )
    try:
        found = parse_arrays(data, "fuzzed")
        assert all(isinstance(array, np.ndarray) for array in found.values())
    except StylegraftError as error:
        assert str(error).startswith("fuzzed: ") and str(error).isprintable() and len(str(error)) < LINE
