"""Domains on the Hugging Face Hub: a folder of three files, pushed in one commit, and pulled by a pinned name.

Nothing but these three leaves this machine (`sharing` writes them). No torch is imported here until a domain is read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegraft.applications.extras import require
from stylegraft.atomic import write_bytes
from stylegraft.checkpoints.hub import PREFIX, fetch, hush
from stylegraft.errors import StylegraftError
from stylegraft.version import __version__

if TYPE_CHECKING:
    from stylegraft.domains.domain import Domain

DOMAIN, CARD, PREVIEW = "domain.safetensors", "README.md", "preview.png"
FILES = (CARD, DOMAIN, PREVIEW)
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_PULLED = re.compile(r"(hf://[\w.-]+/[\w.-]+)(/[^@]+)?(@[\w./-]+)?", re.ASCII)


def check_repo(repo: str) -> None:
    """Raise StylegraftError unless `repo` is OWNER/NAME."""
    if _REPO.fullmatch(repo) is None or ".." in repo or "--" in repo:
        raise StylegraftError(f"{repo}: expected OWNER/NAME, a repository of the hub")


def check_folder(folder: Path) -> None:
    """Raise StylegraftError for a folder that holds anything that is not to be shared."""
    if folder.is_dir():
        other = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
        if other:
            raise StylegraftError(
                f"--out {folder}: it holds {other[0]}, which is not to be shared; name a new folder"
            )
    elif folder.exists() or not folder.parent.is_dir():
        raise StylegraftError(f"--out {folder}: expected the name of a folder in one that exists")


LOGIN = "not logged in, or the token has expired: `hf auth login`, or set HF_TOKEN"
# classes of errors of huggingface_hub and of what it speaks through, the narrower first, and what they mean
REASONS = (
    ("LocalTokenNotFoundError", LOGIN),
    ("OfflineModeIsEnabled", "HF_HUB_OFFLINE is set; unset it to push"),
    ("GatedRepoError", "this repository asks for consent: give it on its page"),
    ("RepositoryNotFoundError", "no such repository, or none that you may see (`hf auth whoami`)"),
    ("HFValidationError", "not a name of a repository"),
    ("ConnectError", "the hub cannot be reached; nothing was pushed"),
    ("TimeoutException", "the hub does not answer; repeat the command"),
    ("Timeout", "the hub does not answer; repeat the command"),
    ("ConnectionError", "the hub cannot be reached; nothing was pushed"),
)  # fmt: skip
STATUS = {
    401: LOGIN,
    403: "your token may not write there: it needs the role `write`, and OWNER is you or your organisation",
    409: "somebody else is writing to it; repeat the command",
    429: "the hub asks to wait: too many requests; repeat the command later",
}


def check_login(repo: str) -> None:
    """Raise StylegraftError without the extra or a token, before anything is made."""
    require("hub", repo)
    from huggingface_hub import get_token

    if get_token() is None:
        raise StylegraftError(f"{repo}: {LOGIN}")


def push(folder: Path, repo: str, *, private: bool = False, api: Any = None) -> str:
    """Upload the three files of `folder` in one commit; returns the name `hf://OWNER/NAME/domain.safetensors@COMMIT`.

    The repository is made where there is none. Raises StylegraftError, in one line, without the extra or a login, for
    a repository of something else, and for one that is public where `private` was asked.
    """
    check_repo(repo)
    require("hub", repo)
    from huggingface_hub import CommitOperationAdd, HfApi

    hush()
    api = api or HfApi(library_name="stylegraft", library_version=__version__)
    try:
        api.create_repo(repo, private=private, exist_ok=True, repo_type="model")
        there = api.repo_info(repo, repo_type="model")
        check_there(repo, there, private)
        files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(folder / name)) for name in FILES]
        done = api.create_commit(
            repo, files, commit_message=f"Domain by stylegraft {__version__}", repo_type="model"
        )
    except StylegraftError:
        raise
    except Exception as error:  # its transport raises errors of its own
        raise StylegraftError(f"{repo}: {reason(error)}") from error
    return f"{PREFIX}{repo}/{DOMAIN}@{done.oid}"


def check_there(repo: str, there: Any, private: bool) -> None:
    """Refuse a repository that holds something else than a domain, and a public one for what shall be private."""
    if private and not there.private:
        raise StylegraftError(
            f"{repo}: --private, but this repository exists and is public; change that in its settings, or choose"
            " another name"
        )
    names = {sibling.rfilename for sibling in there.siblings or ()} - {".gitattributes"}
    if names and DOMAIN not in names:
        raise StylegraftError(
            f"{repo}: this repository holds something else ({sorted(names)[0]}); choose another name"
        )


def reason(error: Exception) -> str:
    """What an error of the hub means, in the user's words."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    status = getattr(getattr(error, "response", None), "status_code", None)
    why = next((why for name, why in REASONS if name in kinds), None)
    if status in STATUS:
        return STATUS[status]
    line = (str(error).strip() or kinds[0]).splitlines()[0][:200]
    return why or f"the hub refuses: {line}"


@dataclass(frozen=True)
class Pulled:
    """path: the file in the local cache, or its copy; name: pinned to a commit; domain: after all checks of loading."""

    path: Path
    name: str
    domain: Domain


def full_name(text: str) -> str:
    """`hf://OWNER/NAME/domain.safetensors@REV` of `hf://OWNER/NAME@REV`; raises StylegraftError for another form."""
    match = _PULLED.fullmatch(text)
    if match is None or ".." in text:
        raise StylegraftError(f"{text}: expected {PREFIX}OWNER/NAME, or {PREFIX}OWNER/NAME@REVISION")
    return f"{match[1]}{match[2] or '/' + DOMAIN}{match[3] or ''}"


def pull(text: str, out: str | os.PathLike[str] | None = None) -> Pulled:
    """Fetch a domain by `hf://OWNER/NAME[/FILE][@REVISION]`, check it, and copy it to `out`.

    Raises StylegraftError for what is not there, is no domain or is damaged, and for an `out` that holds another file.
    """
    from stylegraft.domains.domain import Domain

    whole = full_name(text)
    path, name = fetch(whole)
    try:
        domain = Domain.load(path)
    except StylegraftError as error:
        raise StylegraftError(str(error).replace(str(path), name)) from error
    if out is None:
        return Pulled(path, name, domain)
    target, data = Path(out), path.read_bytes()
    if target.exists() and not (target.is_file() and target.read_bytes() == data):
        raise StylegraftError(f"--out {target}: exists already and is another one; choose another name")
    write_bytes(target, data)
    return Pulled(target, name, domain)
