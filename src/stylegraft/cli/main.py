"""`stylegraft VERB ...`: the table of verbs, and what a user sees when something goes wrong.

A verb is one module of this folder with a frozen dataclass `Options`, whose attribute docstrings are the help, and
a function `run(options)`. Neither this module nor a verb module imports torch: that happens inside `run`, so help
and bad input answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from stylegraft import distributed
from stylegraft.cli.parsing import parse
from stylegraft.errors import StylegraftError, nearest, plain
from stylegraft.version import __version__

GROUPS: dict[str, dict[str, str]] = {
    # verb (its module is of this folder): what it does
    "learn": {
        "adapt": "learn a new domain from a few images",
        "sources": "list the pretrained sources that ship with the package",
        "spaces": "list what can be made to move, with parameter counts",
        "recipes": "list the methods, their papers and their settings",
    },
    "use": {
        "sample": "draw images from a source, a run or a domain file",
        "hypernet": "give sentences their domains, by a trained hypernetwork",
        "mix": "mix domains: a grid of them, or the mix as a domain file",
        "translate": "draw the faces of photos in a domain",
        "edit": "edit faces along directions or channels, on a source or in a domain",
        "directions": "find directions for edit, and show what each does",
        "control": "keep more or less of the source: by noise, layers or weights",
        "morph": "make a film of faces, from domain to domain",
        "transfer": "apply a domain to another source of the same family",
        "prune": "keep the largest numbers of a domain, for a smaller file",
        "studio": "look, mix, adapt and compare in the browser",
    },
    "look closer": {
        "trace": "record quality and diversity along a run, and write its report",
        "evaluate": "measure quality and diversity against images of the domain",
        "compare": "run methods, spaces, targets and seeds against each other",
        "claims": "test the papers' claims on the runs of a study",
        "anatomy": "say what of a domain moved where, and how alike domains are",
        "encoders": "list the networks that metrics look through, and how to get them",
    },
    "files": {
        "inspect": "say what is inside a source, a domain file or a run",
        "convert": "write a source, or a source with a domain in it, in another format",
        "export": "write a source or a domain for other tools: ONNX, PyTorch graphs, layouts",
        "push": "share a domain on the Hugging Face Hub, with a model card",
        "pull": "fetch a shared domain, at a pinned revision",
        "assets": "list or get weights that live in other packages",
    },
}
VERBS = {verb: what for group in GROUPS.values() for verb, what in group.items()}
SPREAD = ("adapt",)  # verbs that several processes share
WAIT = 5.0  # seconds that others give process 0 to say the same, after which torchrun has ended them

USAGE = """\
usage: stylegraft VERB ...        stylegraft VERB --help explains a verb

{verbs}

Start here:  stylegraft adapt faces-64 pencil --recipe dcl --space affine-light+
"""


def usage() -> str:
    """The text of `stylegraft --help`."""
    width = max(map(len, VERBS)) + 2
    lines = (
        (name, *(f"  {verb:<{width}}{what}" for verb, what in own.items())) for name, own in GROUPS.items()
    )
    return USAGE.format(verbs="\n".join(line for group in lines for line in group))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 2 the input was refused, 130 stopped by Ctrl-C."""
    verb, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        return run_verb(verb, rest)
    except StylegraftError as error:
        return refuse(str(error), error)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader went away: `stylegraft recipes | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return refuse(os_error_line(error), error)


def run_verb(verb: str, rest: list[str]) -> int:
    """Parse the rest of the line into the verb's `Options` and call its `run`."""
    if verb == "help" and rest[:1] and rest[0] in VERBS:
        verb, rest = rest[0], ["--help"]
    if verb in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    if verb in ("-V", "--version"):
        print(f"stylegraft {__version__}")
        return 0
    if verb not in VERBS:
        raise StylegraftError(f"no verb {verb!r}{nearest(verb, VERBS)}; the verbs are {', '.join(VERBS)}")
    if distributed.size() > 1 and verb not in SPREAD:
        raise StylegraftError(
            f"WORLD_SIZE={distributed.size()} is set, as torchrun sets it: {verb} runs in one process; unset it, or "
            f"start {verb} without torchrun, which is for {', '.join(SPREAD)}"
        )
    module = import_module(f"stylegraft.cli.{verb}")
    module.run(parse(module, verb, rest))
    return 0


def refuse(line: str, error: BaseException) -> int:
    """Print one line on stderr, without a traceback unless STYLEGRAFT_DEBUG is set."""
    if os.environ.get("STYLEGRAFT_DEBUG"):
        raise error
    who = ""
    if distributed.rank():
        time.sleep(WAIT)
        who = f"process {distributed.rank()}: "
    print(f"error: {who}{plain(line)}", file=sys.stderr, flush=True)
    return 2


def os_error_line(error: OSError) -> str:
    """A failure of the file system in one line that says what to do."""
    where = f" while writing {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; what was saved before is intact: free some space and repeat the command"
    return f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}"
