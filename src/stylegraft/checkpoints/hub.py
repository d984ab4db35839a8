"""Files by the name `hf://owner/repo/path/to/file@revision`, from the Hugging Face Hub or its cache."""

from __future__ import annotations

import re
from pathlib import Path

from stylegraft.errors import StylegraftError

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)/([^@]+?)(?:@([\w./-]+))?", re.ASCII)


def is_hub(text: str) -> bool:
    """Whether a name is one of the hub's."""
    return text.startswith(PREFIX)


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
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise StylegraftError(
            f"{text}: names of the hub need an extra: pip install 'stylegraft[hub]'"
        ) from error
    try:
        path = Path(hf_hub_download(repo, file, revision=revision))
    except LocalEntryNotFoundError as error:
        raise StylegraftError(
            f"{text}: not in the local cache, and the hub cannot be reached; connect once, or give the file's path"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise StylegraftError(f"{text}: the hub does not give this file: {line}") from error
    commit = path.parents[len(Path(file).parts) - 1].name  # .../snapshots/COMMIT/path/to/file
    return path, f"{PREFIX}{repo}/{file}@{commit}"
