"""Read a pickle without importing or running anything that the file names.

Python's unpickler imports what a file names and calls it. This one is an interpreter of the opcodes that data
needs. A name in the file is looked up in a `Vocabulary`, a closed table of our own functions, and only those are
ever called; everything else is refused by name. Deny-list scanners keep being bypassed, so an allow-list is the gate.

What a file may cost is bounded before it is spent: opcodes, text, digits, depth. Bytes longer than a page come out
as views of the file. Values may share parts (a pickle is a graph): never walk, hash, compare or print one that
has not been checked, for a file of 1 KB can describe a tuple of 2^100 leaves.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_OPCODES = 400_000  # a 1024-px trainer checkpoint with its optimisers has 60,000
MAX_TEXT = 4 << 20  # bytes of one text; NVIDIA's pickles carry source texts of 100 KB
MAX_TEXTS = 16 << 20  # bytes of all texts, numbers and short bytes: what is copied out of the file
MAX_VISITS = 50_000  # entries of dicts and lists that a reader looks at; a 1024-px checkpoint has 3,000
MAX_LINE = 4096  # bytes of a number, name or text in the line format of protocol 0
MAX_NAME = 256  # letters of a global with its module, or of a tensor
MAX_ARGUMENTS = 64
MAX_SIZE = 1 << 48  # of any axis, step or count
MAX_KEY = 1 << 60  # numbers below are their own hash; above, as many as one likes have the same
MAX_KEYS = 10_000  # numbers as dict keys; an optimiser has some hundred
PAGE = 4096


class Refused(Exception):
    """What the file asked for is not on the allow-list; the caller adds the file's name."""


# What the standard library raises on damaged bytes.
DAMAGED = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, AssertionError
)  # fmt: skip


@dataclass
class Budget:
    """What is left to spend on one file, shared by the pickles inside pickles and by the readers of their values.

    numbers: of all tensors together. Two bytes a number are the least, so networks of more share their numbers, and
    copying each would fill the memory.
    """

    opcodes: int = MAX_OPCODES
    text: int = MAX_TEXTS
    visits: int = MAX_VISITS
    keys: int = MAX_KEYS
    numbers: int = 0

    def copy(self, size: int) -> None:
        """Copy so many bytes out of the file."""
        self.text -= size
        if self.text < 0:
            raise Refused(f"more than {MAX_TEXTS:,} bytes of text and numbers")

    def key(self, value: Any) -> None:
        """Hash a dict key: text, or one of a few numbers, for numbers can be chosen so that they collide."""
        if type(value) is int and abs(value) < MAX_KEY:
            self.keys -= 1
            if self.keys < 0:
                raise Refused(f"more than {MAX_KEYS:,} numbers as dict keys")
        elif type(value) is not str:
            raise Refused(f"a dict key that is {article(value)}")

    def visit(self, entries: int) -> None:
        """Look at so many entries of a value; the same ones may come again and again."""
        self.visits -= entries
        if self.visits < 0:
            raise Refused(f"more than {MAX_VISITS:,} entries")

    def take(self, numbers: int) -> None:
        """Count the numbers of a tensor that a network is made of."""
        self.visit(1)
        self.numbers -= numbers
        if self.numbers < 0:
            raise Refused("networks of more numbers than the file holds: its tensors share them")


@dataclass(frozen=True, slots=True)
class Name:
    """A global that a vocabulary knows: `make` is ours, and the only thing that can be called."""

    module: str
    name: str
    make: Callable[..., Any]


class Record:
    """A value of a kind that Python has no literal for; `build` receives the object state that the file gives it."""

    def build(self, state: Any) -> None:
        """Refused unless a subclass knows what to do with it."""
        raise Refused(f"object state for {article(self)}")


class Items(dict, Record):
    """A dict of a named class (OrderedDict, EasyDict): its items, without the attributes some writers give it."""

    def build(self, state: Any) -> None:
        """Attributes are not read."""


@dataclass(frozen=True)
class Vocabulary:
    """What one kind of pickle may say.

    what: the kind, for messages ("a numpy pickle"); names: {"module.name": our function}; vendored: the same for
    names that other projects carry inside a package of theirs, so that only the end has to match; persistent: what to
    make of a persistent id, None where there is none.
    """

    what: str
    names: Mapping[str, Callable[..., Any]]
    vendored: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    persistent: Callable[[Any], Any] | None = None

    def find(self, module: str, name: str) -> Name:
        """Our function for a name in the file; raises Refused for any other."""
        full = f"{module}.{name}"
        make = self.names.get(full)
        if make is None and full.isascii():
            make = next((m for end, m in self.vendored.items() if f".{full}".endswith(f".{end}")), None)
        if make is None:
            shown = ascii(full[:120])[1:-1]
            raise Refused(f"the name {shown}, which {self.what} does not need")
        return Name(module, name, make)


def article(value: Any) -> str:
    """What kind of thing a value is, without looking into it: `a dict`, `an int`."""
    kind = type(value).__name__.strip("_").lower()
    kind = {"tensorrecord": "tensor", "items": "dict", "inert": "skipped object", "name": "class"}.get(
        kind, kind
    )
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def printable(text: str, most: int = 80) -> str:
    """Text of a file as a part of a message: one line, no escapes to the terminal, not long."""
    return ascii(text[:most])[1:-1] + ("..." if len(text) > most else "")


def positive(value: Any, what: str) -> float:
    """The setting of a file, if it is a finite number above 0; raises Refused otherwise."""
    if type(value) not in (int, float) or not 0 < value < 1e9:
        raise Refused(f"a {what} that is no number above 0")
    return value


class Cursor:
    """Where a reader stands in a file: the few methods of a file object that `pickletools` decodes arguments with."""

    def __init__(self, data: memoryview, at: int = 0):
        self.data = data
        self.at = at
        self.most = len(data)
        self.views = False

    def read(self, size: int) -> bytes | memoryview:
        """The next bytes, with `views` a view of the file where they are many. Short at its end, as a file's `read`."""
        if size > self.most:
            raise Refused(f"a text or number of {size:,} bytes")
        taken = self.data[self.at : self.at + max(size, 0)]
        self.at += len(taken)
        return taken if self.views and len(taken) > PAGE else bytes(taken)

    def readline(self) -> bytes:
        """The next line with its end."""
        line = bytes(self.data[self.at : self.at + MAX_LINE])
        line = line[: line.find(b"\n") + 1]
        if not line:
            raise Refused(f"a line without an end in {MAX_LINE} bytes")
        self.at += len(line)
        return line


_MARK = object()

_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_SKIPPED = {"PROTO", "FRAME"}


class _Machine:
    """The stack, the memo and what each opcode does to them."""

    def __init__(self, vocabulary: Vocabulary, budget: Budget):
        self.vocabulary = vocabulary
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.names: dict[tuple[str, str], Name] = {}

    def name(self, module: Any, name: Any) -> Name:
        """What the vocabulary has for a name, one object however often the file says it."""
        if type(module) is not str or type(name) is not str:
            raise Refused("a global whose name is not text")
        if len(module) + len(name) > MAX_NAME:
            raise Refused(f"a global whose name has {len(module) + len(name):,} letters")
        key = module, name
        if key not in self.names:
            self.names[key] = self.vocabulary.find(module, name)
        return self.names[key]

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise IndexError("no MARK")
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken

    def take(self, count: int) -> list[Any]:
        """Take the last `count` values."""
        if len(self.stack) < count:
            raise IndexError("short stack")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def keep(self, at: int) -> None:
        """Remember the top of the stack under a number."""
        self.memo[at] = self.stack[-1]

    def set_items(self, pairs: list[Any]) -> None:
        """Keys and values, alternating, into the dict below them."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refused(f"items set on {article(target)}")
        if len(pairs) % 2:
            raise ValueError("a key without its value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.budget.key(key)
            target[key] = value

    def append(self, values: list[Any]) -> None:
        """Values onto the list below them."""
        if type(self.stack[-1]) is not list:
            raise Refused(f"values appended to {article(self.stack[-1])}")
        self.stack[-1].extend(values)

    def empty_set(self) -> None:
        """An empty set, which takes the memory of four dicts."""
        self.budget.opcodes -= 3
        self.stack.append(set())

    def add(self, values: list[Any]) -> None:
        """Values into the set below them."""
        if type(self.stack[-1]) is not set:
            raise Refused(f"values added to {article(self.stack[-1])}")
        self.stack[-1].update(hashable(values))

    def call(self) -> None:
        """REDUCE and NEWOBJ: a function of the vocabulary on a tuple of arguments, which it may copy each time."""
        name, arguments = self.take(2)
        if not isinstance(name, Name) or type(arguments) is not tuple:
            raise Refused(f"a call of {article(name)}")
        if len(arguments) > MAX_ARGUMENTS:
            raise Refused(f"a call with {len(arguments):,} arguments")
        self.budget.opcodes -= sum(len(a) for a in arguments if type(a) in (list, tuple, set))
        self.budget.copy(sum(len(a) for a in arguments if type(a) is str))
        self.stack.append(name.make(*arguments))

    def build(self) -> None:
        """BUILD: object state for a record."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Record):
            raise Refused(f"object state for {article(self.stack[-1])}")
        self.stack[-1].build(state)

    def stack_global(self) -> None:
        """The two names on the stack become our function."""
        self.stack.append(self.name(*self.take(2)))

    def persistent(self) -> None:
        """A persistent id becomes what the vocabulary makes of it."""
        if self.vocabulary.persistent is None:
            raise Refused(f"a persistent id, which {self.vocabulary.what} does not have")
        self.stack.append(self.vocabulary.persistent(self.stack.pop()))


_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "TUPLE": lambda m: m.stack.append(tuple(m.since_mark())),
    "LIST": lambda m: m.stack.append(m.since_mark()),
    "DICT": lambda m: (pairs := m.since_mark(), m.stack.append({}), m.set_items(pairs))[-1],
    "SETITEM": lambda m: m.set_items(m.take(2)),
    "SETITEMS": lambda m: m.set_items(m.since_mark()),
    "EMPTY_SET": _Machine.empty_set,
    "APPEND": lambda m: m.append(m.take(1)),
    "APPENDS": lambda m: m.append(m.since_mark()),
    "ADDITEMS": lambda m: m.add(m.since_mark()),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.persistent,
    "MEMOIZE": lambda m: m.keep(len(m.memo)),
}
_KEEP = {"PUT", "BINPUT", "LONG_BINPUT"}
_RECALL = {"GET", "BINGET", "LONG_BINGET"}


def hashable(values: Any) -> list[str]:
    """The values, if each is text, so that hashing one costs nothing and no two collide."""
    if type(values) not in (list, tuple, set) or any(type(v) is not str for v in values):
        raise Refused("a set of something else than text")
    return list(values)


def _two_lines(cursor: Cursor) -> tuple[str, str]:
    """GLOBAL, in which `pickletools` would undo escapes."""
    module, name = cursor.readline(), cursor.readline()
    return module[:-1].decode(), name[:-1].decode()


def _byte_array(cursor: Cursor) -> bytes | memoryview:
    """BYTEARRAY8, of which `pickletools` would make a copy."""
    size = int.from_bytes(cursor.read(8), "little")
    data = cursor.read(size)
    if len(data) != size:
        raise EOFError("it ends in the middle of bytes")
    return data


_READERS: dict[str, Callable[[Cursor], Any]] = {"BYTEARRAY8": _byte_array, "GLOBAL": _two_lines}
_KNOWN = {
    *_TEXTS, *_BYTES, *_NUMBERS, *_CONSTANTS, *_TUPLES, *_ACTIONS, *_KEEP, *_RECALL, *_SKIPPED, "GLOBAL", "STOP"
}  # fmt: skip


def interpret(cursor: Cursor, vocabulary: Vocabulary, budget: Budget) -> Any:
    """The value of the pickle that starts at the cursor, which is left behind its end.

    Raises Refused for what is not on the allow-list or above a bound, and one of DAMAGED for bytes that are no pickle.
    """
    machine = _Machine(vocabulary, budget)
    stack, memo = machine.stack, machine.memo
    while True:
        budget.opcodes -= 1
        if budget.opcodes < 0:
            raise Refused(f"more than {MAX_OPCODES:,} opcodes")
        if cursor.at >= len(cursor.data):
            raise EOFError("it ends in the middle")
        opcode = _OPCODES.get(cursor.data[cursor.at])
        if opcode is None:
            raise ValueError(f"byte {cursor.at} is no opcode")
        cursor.at += 1
        op = opcode.name
        if op not in _KNOWN:
            raise Refused(f"the opcode {op}, which {vocabulary.what} does not need")
        argument: Any = None
        if opcode.arg is not None:
            start = cursor.at
            cursor.views = op in _BYTES
            cursor.most = len(cursor.data) if op in _BYTES else MAX_TEXT if op in _TEXTS else PAGE
            argument = _READERS.get(op, opcode.arg.reader)(cursor)  # type: ignore[arg-type]
            if op not in _BYTES or cursor.at - start <= PAGE:
                budget.copy(cursor.at - start)
        if op in _TEXTS or op in _BYTES or op in _NUMBERS:
            stack.append(argument)
        elif op in _RECALL:
            stack.append(memo[argument])
        elif op in _KEEP:
            machine.keep(argument)
        elif op in _ACTIONS:
            _ACTIONS[op](machine)
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op]())
        elif op in _TUPLES:
            stack.append(tuple(machine.take(_TUPLES[op])))
        elif op == "GLOBAL":
            stack.append(machine.name(*argument))
        elif op == "STOP":
            (value,) = stack
            return value
