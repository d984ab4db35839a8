"""Hostile networks: tensors that lie about their size, structure that multiplies, settings that are wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import hostile_files as h
import numpy as np
from hostile_catalogue import FOUR, LOADS, MB, Honest, add, alone, case, split
from hostile_files import Call, Global, Raw, dump, get, named, number, put, text

# fmt: off

SHAPES: dict[str, tuple[Any, ...]] = {
    "more than the storage": ((5,),),
    "strides out of bounds": ((2, 2), (4, 1)),
    "an offset out of bounds": ((4,), (1,), 1),
    "a negative offset": ((4,), (1,), -1),
    "a negative size": ((-1,), (1,)),
    "a negative stride": ((4,), (-1,), 3),
    "zero strides that multiply": ((1 << 40,), (0,)),
    "zero strides that multiply a little": ((2, 4), (0, 1)),
    "2^62 x 2^62": ((1 << 62, 1 << 62), (0, 0)),
    "600 digits": ((10**600,) * 8, (10**600,) * 8),
    "sizes that are truths": ((True, 4), (4, 1)),
    "sizes that are fractions": ((4.0,), (1,)),
    "sizes in a list": ([4], [1]),
    "more strides than sizes": ((4,), (1, 1)),
    "a thousand axes": ((1,) * 1000, (0,) * 1000),
    "an offset that is text": ((4,), (1,), "0"),
}
for _name, _shape in SHAPES.items():
    add(f"tensor: {_name}, pickle", lambda o, s=_shape: o.beside(h.rebuilt(h.blob(FOUR), *s)), "refused")
    add(f"tensor: {_name}, zip", lambda o, s=_shape: h.modern(
        {"first": FOUR, "x": h.rebuilt(h.storage_id(FOUR, "0"), *s)}), "refused")
add("tensor: empty, with an offset out of bounds", lambda o: h.nvidia(
    {**o.g, "mapping.fc0.bias": h.rebuilt(h.blob(FOUR), (0,), (1,), 1 << 40)}, o.d))
add("tensor: empty, of 0 x 2^47 x 2^47, in a direction", lambda o: h.legacy(
    {"first": FOUR, "state_dict": {"heads.conv_0.params_in": h.rebuilt(
        h.storage_id(FOUR, "0"), (0, 1 << 47, 1 << 47), (1, 1, 1))}}), "refused")
add("tensor: empty, of 0 x 2^62", lambda o: h.nvidia(
    {**o.g, "mapping.fc0.bias": h.rebuilt(h.blob(FOUR), (0, 1 << 62), (1 << 62, 1))}, o.d))


# --- Networks that multiply what the file holds ---------------------------------------------------------------------


def _shared(node: Any, slot: int = 1) -> tuple[Raw, Raw]:
    """A node, and how to say it again."""
    return Raw(alone(node).code + put(slot)), Raw(get(slot))


def _over_one_blob(count: int, name: str) -> dict[str, Any]:
    """Tensors of 4 million numbers, all over one storage of fp16."""
    first, again = _shared(h.blob(np.zeros(4 * MB, np.float16)))
    return {name.format(i): h.rebuilt(again if i else first, (2048, 2048)) for i in range(count)}


def _over_one_storage(key: str, sign: str, name: str) -> bytes:
    """The same in a zip, transposed, so that a reshape has to copy."""
    numbers = np.zeros(4 * MB, np.float16)
    storage = h.storage_id(numbers, "0")
    tensors = {name.format(i): h.rebuilt(storage, (1, 1, 1, 2048, 2048), (1, 1, 1, 1, 2048)) for i in range(90)}
    return h.modern({"first": numbers, key: {sign: h.rebuilt(storage, (1, 4, 4, 4)), **tensors}})


add("many tensors over one storage, pickle",
    lambda o: o.nvidia(G_ema=h.module({**o.g, **_over_one_blob(200, "synthesis.x.w{}")})), "share")
add("many filters over one storage",
    lambda o: o.nvidia(G_ema=h.module({**_over_one_blob(200, "x.f{}.resample_filter"), **o.g})), "share")
add("many tensors over one storage, zip",
    lambda o: _over_one_storage("g_ema", "input.input", "convs.{}.conv.weight"), "share")
add("many heads over one storage",
    lambda o: _over_one_storage("state_dict", "heads.conv_99.x", "heads.conv_{}.s_delta"), "share")


@case("modules 20,000 deep", "nested")
def _(o: Honest) -> bytes:
    words = ("class_name", "module_src", "state", "_modules", "x")
    kept = b"(" + b"".join(text(word) + put(10 + i) for i, word in enumerate(words)) + b"l"
    start = named("torch_utils.persistence", "_reconstruct_persistent_obj") + put(1)
    head = get(1) + b"(}(" + get(10) + get(14) + get(11) + get(14) + get(12) + b"}" + get(13) + b"}" + get(14)
    chain = start + head[5:] + head * 19_999 + b"N" + b"ssutR" * 20_000
    return b"\x80\x03}(" + text("words") + kept + text("G_ema") + chain + b"u."


@case("modules that are one another's children, 8^16 paths", "entries")
def _(o: Honest) -> bytes:
    node: Any = h.persistent({})
    for level in range(16):
        first, again = _shared(node, 100 + level)
        node = h.persistent({"_modules": {f"c{i}": again if i else first for i in range(8)}})
    return o.nvidia(G_ema=node)


@case("one dict of 20,000 parameters in 9,000 modules", "entries")
def _(o: Honest) -> bytes:
    numbers, again = _shared(h.tensor(FOUR))
    names = text("p") + numbers.code + b"".join(text(f"p{i}") + again.code for i in range(20_000))
    first = h.persistent({"_parameters": Raw(b"}(" + names + b"u" + put(2))})
    leaf, more = _shared(h.persistent({"_parameters": Raw(get(2))}), 3)
    below = {"first": first, "leaf": leaf} | {f"c{i}": more for i in range(9_000)}
    return o.nvidia(G_ema=h.persistent({"_modules": below}))


@case("one name of 4 MB in 100 modules", "letters")
def _(o: Honest) -> bytes:
    long, again = _shared(h.persistent({"_modules": {"n" * 4_000_000: h.persistent({})}}))
    return o.nvidia(G_ema=h.persistent({"_modules": {f"c{i}": again if i else long for i in range(100)}}))


@case("offsets in 5,000 layers, 50,000 tensors", "entries")
def _(o: Honest) -> bytes:
    numbers, again = _shared(h.tensor(FOUR))
    leaf, more = _shared(h.persistent({"_parameters": {"offset": numbers}}), 3)
    many = Raw(b"}(" + b"".join(text(f"p{i}") + again.code for i in range(50_000)) + b"u")
    below = {"leaf": leaf, "many": h.persistent({"_parameters": many}), **{f"c{i}": more for i in range(5_000)}}
    return o.nvidia(G_ema=h.persistent({"_modules": below}))


@case("offsets in 8,000 layers, 15,000 tensors")
def _(o: Honest) -> bytes:
    numbers, again = _shared(h.tensor(np.zeros((), np.float32)))
    leaf, more = _shared(h.persistent({"_parameters": {"offset": numbers}}), 3)
    many = Raw(b"}(" + b"".join(text(f"p{i}") + again.code for i in range(15_000)) + b"u")
    below = {"leaf": leaf, "many": h.persistent({"_parameters": many}), **{f"c{i}": more for i in range(8_000)}}
    return o.nvidia(G_ema=h.persistent({"_modules": below}))


def _line(n: int, across: bool = False) -> np.ndarray:
    return np.zeros((1, n) if across else (n, 1), np.float32)


def _layer(o: Honest, arrays: dict[str, Any], **attributes: Any) -> bytes:
    """An NVIDIA pickle whose layer b8.conv1 has other tensors and attributes."""
    prefix = "synthesis.b8.conv1."
    own = {name.removeprefix(prefix): a for name, a in o.g.items() if name.startswith(prefix)}
    whole = h.module(o.g)
    block = whole.args[0]["state"]["_modules"]["synthesis"].args[0]["state"]["_modules"]["b8"]
    block.args[0]["state"]["_modules"]["conv1"] = h.module(own | arrays, **attributes)
    return o.nvidia(G_ema=whole)


N = 30_000  # n x 1 and 1 x n are 240 KB, n x n 3.6 GB
STYLE, WEIGHTS = "domain_modulation_parametrization", "weights_domain_modulation_parametrization"
OFFSETS: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
    "factors n x 1 and 1 x n": ({"weights_offset_out_0": _line(N), "weights_offset_in_0": _line(N, True)},
                                {WEIGHTS: "out_in_additive"}),
    "a mask across": ({"offset": _line(N), "offset_mask": _line(N, True)}, {STYLE: "additive"}),
    "a weight offset across": ({"weight": _line(N), "weights_offset": _line(N, True)}, {WEIGHTS: "additive"}),
    "a weight offset across, times": ({"weight": _line(N), "weights_offset": _line(N, True)}, {WEIGHTS: "x"}),
    "a bias across": ({"offset": np.zeros(N, np.float32), "affine.bias": _line(N), "affine.weight": _line(N)},
                      {STYLE: "additive"}),
    "a bias across, times": ({"offset": np.zeros(N, np.float32), "affine.bias": _line(N),
                              "affine.weight": np.zeros(N, np.float32)}, {STYLE: "multiplicative"}),
    "a bias across, in w": ({"offset": FOUR, "affine.bias": _line(N, True),
                             "affine.weight": np.zeros((N, 4), np.float32)}, {STYLE: "additive_w_space"}),
    "an unknown rule": ({"offset": FOUR}, {STYLE: "os.system\x1b[2J"}),
    "a rule that is a list": ({"offset": FOUR}, {STYLE: ["additive"]}),
    "no rule": ({"weights_offset": np.zeros((4, 4, 1, 1), np.float32)}, {}),
    "a factor without its partner": ({"weights_offset_in_0": np.zeros((1, 4), np.float32)}, {WEIGHTS: "additive"}),
    "a hundred factors": ({f"weights_offset_{way}_{i}": np.zeros((4, 4), np.float32)
                           for way in ("in", "out") for i in range(100)}, {WEIGHTS: "additive"}),
    "a weight without axes": ({"offset": FOUR, "affine.weight": np.zeros((), np.float32)}, {STYLE: "additive"}),
    "an offset of 1e38, times": ({"offset": np.full(4, 3e38, np.float32),
                                  "affine.weight": np.full((4, 4), 3e38, np.float32)}, {STYLE: "multiplicative"}),
}
for _name, (_arrays, _rules) in OFFSETS.items():
    add(f"offsets: {_name}", lambda o, a=_arrays, r=_rules: _layer(o, a, **r), "refused|damaged|expected")
add("offsets: beside nothing", lambda o: o.nvidia(G_ema=h.module({**o.g, "x\x1b[2J.offset": FOUR})), "beside no")
add("offsets: many tensors over one storage",
    lambda o: _layer(o, {**_over_one_blob(100, "x{}"), "offset": FOUR}, **{STYLE: "additive"}), "share")


def _narrow(top: int) -> dict[str, np.ndarray]:
    """Tensors of a generator of `top` px, all layers one channel wide, noise maps left out."""
    zeros = np.zeros
    found = {"synthesis.b4.const": zeros((1, 4, 4), np.float32)}
    for i in range(2):
        found |= {f"mapping.fc{i}.weight": zeros((4, 4), np.float32), f"mapping.fc{i}.bias": FOUR}
    for r in (1 << i for i in range(2, top.bit_length())):
        for layer, out, kernel in (("conv0", 1, 3), ("conv1", 1, 3), ("torgb", 3, 1)):
            if r > 4 or layer != "conv0":
                name = f"synthesis.b{r}.{layer}"
                found |= {f"{name}.weight": zeros((out, 1, kernel, kernel), np.float32),
                          f"{name}.bias": zeros(out, np.float32), f"{name}.affine.weight": zeros((1, 4), np.float32),
                          f"{name}.affine.bias": zeros(1, np.float32)}
                if layer != "torgb":
                    found[f"{name}.noise_strength"] = zeros((), np.float32)
    return found


for _top in (1 << 12, 1 << 16, 1 << 20, 1 << 40):
    add(f"size: {_top} px in 100 KB, pickle", lambda o, t=_top: o.nvidia(G_ema=h.module(_narrow(t))), "refused")
    add(f"size: {_top} px in 100 KB, zip", lambda o, t=_top: h.modern(h.rosinality(_narrow(t), None, t)), "refused")
add("size: 2048 px in 100 KB, no noise maps", lambda o: o.nvidia(G_ema=h.module(_narrow(2048))), "loads")
add("size: 2048 px, texts of 16 MB and 300,000 dicts", lambda o: o.nvidia(
    G_ema=h.module(_narrow(2048)), training_set_kwargs=Raw(
        b"(" + text("\U0001f600" + "x" * 4_000_000) * 4 + b"}" * 300_000 + b"l")), "loads")
DIGITS = [c for c in map(chr, range(1 << 16)) if c.isdecimal()][:110]
for _odd in ("synthesis.b99999999.conv0.weight", "synthesis.b1048576.conv1.weight", "x.b40000.conv0.weight",
             "conv0.weight", "synthesis.b.conv0.weight", "synthesis.b\u00b3.conv0.weight",
             "synthesis.b\u0664.conv0.weight", "convs.99.weight", "mapping.fc\u0663.weight"):
    add(f"named: {ascii(_odd)[1:-1]}", lambda o, n=_odd: o.nvidia(G_ema=h.module({**o.g, n: FOUR})))
add("named: 300 tensors that ask for noise maps", lambda o: o.nvidia(
    G_ema=h.module({**o.g, **{f"q.b1024.x{i}.conv0.weight": FOUR for i in range(300)}})))
add("named: 40,000 blocks in all digits of the world", lambda o: h.modern({"first": FOUR, "g_ema": {
    "input.input": h.rebuilt(h.storage_id(FOUR, "0"), (1,)), **{f"to_rgbs.{a}{b}.bias": h.rebuilt(
        h.storage_id(FOUR, "0"), ()) for a in DIGITS for b in DIGITS}}}), "refused")
add("named: convs.99 of a small generator", lambda o: h.modern(
    {"g_ema": {**o.pt["g_ema"], "convs.99.conv.weight": FOUR}}), "refused")
add("estimate: z of 500,000 numbers", lambda o: o.nvidia(G_ema=h.module(
    {**o.without("w_avg"), "mapping.fc0.weight": np.zeros((4, 500_000), np.float16)})), "estimate")
add("estimate: 500,000 classes", lambda o: o.nvidia(G_ema=h.module(
    {**o.without("w_avg"), "mapping.fc0.weight": np.zeros((4, 8), np.float32),
     "mapping.embed.weight": np.zeros((4, 500_000), np.float16), "mapping.embed.bias": FOUR})), "estimate")


@case("estimate: 3,000 layers", "estimate")
def _(o: Honest) -> bytes:
    first, again = _shared(h.module({"weight": np.zeros((4, 4), np.float32), "bias": FOUR}))
    whole = h.module(o.without("mapping."))
    deep = h.persistent({"_modules": {f"fc{i}": again if i else first for i in range(3_000)}}, source="#" * 400_000)
    whole.args[0]["state"]["_modules"]["mapping"] = deep
    return o.nvidia(G_ema=whole)


def _biases(*numbers: Any) -> list[tuple[str, Any]]:
    return [(f"synthesis/{i}x1/Conv1/mod_bias", array) for i, array in enumerate(numbers)]


@case("TensorFlow variables that share their numbers")
def _(o: Honest) -> bytes:
    first, again = _shared(h.array(np.zeros(4 * MB, np.float32)))
    return o.tensorflow(variables=_biases(first, *[again] * 400))


@case("TensorFlow arrays that share their bytes")
def _(o: Honest) -> bytes:
    data = Raw(b"B" + struct.pack("<I", 16 * MB) + bytes(16 * MB) + put(1))
    return o.tensorflow(variables=_biases(
        *(h.array(FOUR, data=Raw(get(1)) if i else data, shape=(4 * MB,)) for i in range(200))))


def _components(o: Honest, many: int, variables: int) -> bytes:
    one, same = _shared(h.array(FOUR), 3)
    inner, again = _shared(h.network([(f"v{i}", same if i else one) for i in range(variables)]), 1)
    middle, more = _shared(h.network([], {f"c{i}": again if i else inner for i in range(many)}), 2)
    return o.tensorflow(components={f"c{i}": more if i else middle for i in range(many)})


add("components: 300 of 300 of 300 variables", lambda o: _components(o, 300, 300), "entries")
add("components: 90 of 90 of 9,000 variables", lambda o: _components(o, 90, 9_000), "entries")
add("components: a name of 4 MB and 500 variables", lambda o: o.tensorflow(
    components={"n" * 4_000_000: h.network([(f"v{i}", FOUR) for i in range(500)])}), "refused")
add("components: a variable with a name of 4 MB", lambda o: o.tensorflow(
    variables=[("n" * 4_000_000, FOUR)]), "letters")
add("components: within themselves", lambda o: o.tensorflow(components=Raw(
    b"}" + put(1) + text("mapping") + named("dnnlib.tflib.network", "Network") + b")R" + b"}(" + text("version")
    + number(4) + text("variables") + b"]" + text("components") + get(1) + b"ub" + b"s")))


# --- Settings, numbers and shapes that are wrong ----------------------------------------------------------------------

NAN = float("nan")


def _kwargs(**changed: Any) -> dict[str, Any]:
    return {"static_kwargs": {"resolution": 8, "num_channels": 3} | changed}


for _name, _changed in {
    "version 3": {"version": 3}, "version 10^600": {"version": 10**600}, "no variables": {"variables": None},
    "an unknown setting": _kwargs(os_system="x"), "a clamp of 600 digits": _kwargs(conv_clamp=10**600),
    "a clamp that is text": _kwargs(conv_clamp="256"), "a clamp of NaN": _kwargs(conv_clamp=NAN),
    "a clamp below 0": _kwargs(conv_clamp=-1.0), "a rate of 0": _kwargs(mapping_lrmul=0.0),
    "a rate of NaN": _kwargs(mapping_lrmul=NAN), "a rate that is a list": _kwargs(mapping_lrmul=[1]),
    "a filter of sum 0": _kwargs(resample_kernel=[1, -1]), "a filter of NaN": _kwargs(resample_kernel=[NAN]),
    "a filter of 600 digits": _kwargs(resample_kernel=[10**600]), "another activation": _kwargs(nonlinearity="relu"),
    "a filter of a thousand taps": _kwargs(resample_kernel=[1.0] * 1000),
    "a name with escapes": {"name": "\x1b[2J\ud800", **_kwargs(os_system="x")},
    "scalars for tensors": {"variables": [("4x4/Const/const", 1.0), ("dlatent_avg", 10**600)]},
    "names in other digits": {"variables": [("synthesis/\u0668x\u0668/Conv1/weight", FOUR)]},
}.items():
    add(f"TensorFlow: {_name}", lambda o, c=_changed: o.tensorflow(**c), "refused|damaged")
add("TensorFlow: two networks", lambda o: dump((h.network([]), h.network([]))), "refused")
add("TensorFlow: a tuple of nothing", lambda o: dump(()), "refused")


def _spoilt(o: Honest, value: float, kind: Any) -> dict[str, np.ndarray]:
    values = o.g["synthesis.b8.conv1.weight"].astype(kind)
    values[0, 0, 0, 0] = value
    return {**o.g, "synthesis.b8.conv1.weight": values}


for _name, _value, _kind in (("NaN", np.nan, np.float32), ("infinity", np.inf, np.float16),
                             ("1e300", 1e300, np.float64)):
    for _format, _write in {"pickle": lambda o, g: h.nvidia(g, o.d), "TensorFlow": lambda o, g: h.tensorflow(g, o.d),
                            "zip": lambda o, g: h.modern(h.rosinality(g)),
                            "stream": lambda o, g: h.legacy(h.rosinality(g))}.items():
        add(f"numbers: {_name}, {_format}", lambda o, w=_write, v=_value, k=_kind: w(o, _spoilt(o, v, k)),
            "conv1.weight")
add("numbers: that overflow the mapping", lambda o: h.modern({"g_ema": {
    **o.pt["g_ema"], **{f"style.{i}.weight": np.full((4, 4), 3e38, np.float32) for i in (1, 2)}}}), "overflow")
add("numbers: whole", lambda o: h.nvidia({**o.g, "mapping.fc0.bias": np.zeros(4, np.int64)}, o.d), "mapping.fc0.bias")
add("numbers: NaN in the discriminator", lambda o: h.nvidia(
    o.g, {**o.d, "b4.fc.bias": np.full(4, np.nan, np.float32)}), LOADS)

WRONG: dict[str, Callable[[Honest], dict[str, Any]]] = {
    "a kernel transposed": lambda o: {**o.g, "synthesis.b4.torgb.weight": np.zeros((4, 3, 1, 1), np.float32)},
    "a missing tensor": lambda o: o.without("b8.torgb.bias"),
    "a missing constant": lambda o: o.without("b4.const"),
    "no mapping": lambda o: o.without("mapping."),
    "a gap in the mapping": lambda o: {n.replace("fc1", "fc7"): a for n, a in o.g.items()},
    "an unknown tensor": lambda o: {**o.g, "synthesis.b8.conv2.weight": FOUR},
    "layers of odd widths": lambda o: {**o.g, "synthesis.b8.conv1.weight": np.zeros((5, 4, 3, 3), np.float32)},
    "a weight without axes": lambda o: {**o.g, "synthesis.b8.conv1.weight": np.zeros((), np.float32)},
    "a weight of size 0": lambda o: {**o.g, "synthesis.b8.conv1.weight": np.zeros((0, 4, 3, 3), np.float32)},
    "a gap in the blocks": lambda o: {n.replace(".b8.", ".b16."): a for n, a in o.g.items()},
    "StyleGAN3": lambda o: {"synthesis.input.weight": FOUR, **o.g},
    "a name with escapes": lambda o: {**o.g, "synthesis.b8.\x1b[2J\n\rx": FOUR},
    "a name with a surrogate": lambda o: {**o.g, "synthesis.b8.\ud800": FOUR},
    "a name of 1 MB": lambda o: {**o.g, "synthesis.b8." + "n" * MB: FOUR},
    "a name with escapes and NaN": lambda o: {**o.g, "synthesis.b8.\x1b]0;x\x07": FOUR * np.nan},
}
for _name, _wrong in WRONG.items():
    add(f"shapes: {_name}, pickle", lambda o, w=_wrong: h.nvidia(w(o), o.d))
add("shapes: a name with escapes, zip", lambda o: h.modern({"g_ema": {**o.pt["g_ema"], "x\x1b[2J\n": FOUR}}), "refused")
add("shapes: a name of 1 MB, zip", lambda o: h.modern({"g_ema": {**o.pt["g_ema"], "n" * MB: FOUR}}), "refused")
add("shapes: keys with escapes", lambda o: h.modern({"\x1b[2J\n" + "n" * MB: 1, "\ud800": 2, 10**600: 3}), "refused")
add("shapes: a discriminator that does not fit", lambda o: h.nvidia(
    o.g, {**o.d, "b4.fc.weight": np.zeros((4, 4), np.float32)}), "loads")
for _name, _attributes in {
    "conv_clamp of NaN": {"conv_clamp": NAN}, "conv_clamp below 0": {"conv_clamp": -256},
    "conv_clamp of 600 digits": {"conv_clamp": 10**600}, "conv_clamp that is text": {"conv_clamp": "256"},
    "conv_clamp that is a list": {"conv_clamp": [256]}, "another activation": {"activation": "\x1b[2Jrelu" * 99},
}.items():
    add(f"settings: {_name}", lambda o, a=_attributes: o.inside(**a), "refused")


def _module_of(whole: Call, *names: str) -> dict[str, Any]:
    """The state of a child."""
    for name in names:
        whole = whole.args[0]["state"]["_modules"][name]
    return whole.args[0]["state"]


def _rate(o: Honest, rate: Any) -> bytes:
    whole = h.module(o.g)
    _module_of(whole, "mapping", "fc0")["bias_gain"] = rate
    return o.nvidia(G_ema=whole)


def _grouped(o: Honest, group: Any) -> bytes:
    whole = h.module(o.d)
    _module_of(whole, "b4")["_modules"]["mbstd"] = h.persistent({"group_size": group, "num_channels": 1})
    return o.nvidia(D=whole)


for _rated in (0.0, NAN, float("inf"), -1.0, 10**600, "0.01", True):
    add(f"settings: a mapping whose rate is {_rated!a:.12}", lambda o, g=_rated: _rate(o, g), "refused")
for _group in (0, -1, 10**600, "4", NAN):
    add(f"settings: minibatch-std of groups of {_group!a:.12}", lambda o, g=_group: _grouped(o, g), "loads")
for _name, _taps in {"sum 0": [[1, -1], [-1, 1]], "NaN": [[np.nan]], "zeros": [[0, 0]]}.items():
    add(f"settings: a filter of {_name}", lambda o, f=_taps: h.nvidia(
        {**o.g, "synthesis.b8.torgb.resample_filter": np.array(f, np.float32)}, o.d), "filter")

# --- Objects that are harmless, beside the networks and in their place --------------------------------------------

INERT: dict[str, Any] = {
    "argparse.Namespace": Call("argparse", "Namespace", (), {"lr": 0.002, "path": "x"}),
    "numpy's random state": ("MT19937", Raw(alone(h.array(np.arange(624, dtype=np.uint32))).code), 624, 0, 0.0),
    "Python's random state": (3, tuple(range(625)), None),
    "a path": Call("pathlib", "PosixPath", ("/", "data", "x")),
    "a set of text": Call("builtins", "set", (["a", "b"],)),
    "a device": Call("torch", "device", ("cuda", 0)),
    "a defaultdict": Call("collections", "defaultdict", (Global("builtins", "dict"),)),
}
for _name, _node in INERT.items():
    add(f"inert: {_name} beside the networks, stream", lambda o, n=_node: h.legacy(o.pt | {"args": n}), LOADS)
    add(f"inert: {_name} beside the networks, zip", lambda o, n=_node: h.modern(o.pt | {"args": n}), LOADS)
    add(f"inert: {_name} beside the networks, pickle", lambda o, n=_node: o.beside(n), LOADS)
    add(f"inert: {_name} in place of a network, zip", lambda o, n=_node: h.modern({"g_ema": n}), "refused")
    add(f"inert: {_name} in place of a network, pickle", lambda o, n=_node: o.nvidia(G_ema=n), "refused")
add("inert: a persistent object of another class", lambda o: o.beside(Call(
    *split("torch_utils.persistence._reconstruct_persistent_obj"), (h.persistent({}, "AugmentPipe").args[0],))), LOADS)
