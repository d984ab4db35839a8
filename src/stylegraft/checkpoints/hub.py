"""Files by the name `hf://owner/repo/path/to/file@revision`, from the Hugging Face Hub or its cache."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from stylegraft.errors import StylegraftError

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)/([^@]+?)(?:@([\w./-]+))?", re.ASCII)


# errors of huggingface_hub, the narrower first, and what they mean
REASONS = (
    (
        "LocalEntryNotFoundError",
        "not in the local cache, and the hub cannot be reached; connect once, or give a path",
    ),
    ("GatedRepoError", "this repository asks for consent: give it on its page, then `hf auth login`"),
    ("RepositoryNotFoundError", "no such repository, or a private one (`hf auth login`)"),
    ("RevisionNotFoundError", "the repository has no such revision"),
    ("EntryNotFoundError", "the repository has no such file in this revision"),
    ("HFValidationError", "not a name of a repository"),
)


def is_hub(text: str) -> bool:
    """Whether a name is one of the hub's."""
    return text.startswith(PREFIX)


def hush() -> None:
    """Retries of huggingface_hub, once it is imported, are not for the user, who gets one line at the end."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def fetch(text: str) -> tuple[Path, str]:
    """The file's place in the local cache, downloaded if need be, and its name pinned to the commit it came from.

    Works offline with what the cache has (`HF_HUB_OFFLINE`, `HF_HOME` as everywhere). Raises StylegraftError for a
    name of another form, without the extra, and when neither cache nor hub has the file.
    """
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        raise StylegraftError(f"{text}: expected {PREFIX}OWNER/REPO/FILE@REVISION (a branch, tag or commit)")
    repo, file, revision = match.groups()
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise StylegraftError(
            f"{text}: names of the hub need an extra: pip install 'stylegraft[hub]'"
        ) from error
    hush()
    try:
        path = Path(hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # its transport raises errors of its own
        why = next((why for name, why in REASONS if isinstance(error, getattr(errors, name))), None)
        if why is None:
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            why = f"the hub does not give this file: {line}"
        raise StylegraftError(f"{text}: {why}") from error
    commit = path.parents[len(Path(file).parts) - 1].name  # .../snapshots/COMMIT/path/to/file
    return path, f"{PREFIX}{repo}/{file}@{commit}"
