"""Inception-v3 (Szegedy et al., CVPR 2016, arXiv:1512.00567) as FID was defined on it (Heusel et al., NeurIPS 2017,
arXiv:1706.08500): NVIDIA's TorchScript file of StyleGAN's metrics, a translation of the network of 2015-12-05.

A TorchScript file is a program: torch compiles and runs it, and such a program can write files as soon as it is
loaded. Only the published file, by its SHA-256, is run without a question; any other one only for a user who names
its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings

import torch
from torch import Tensor

from stylegraft.checkpoints import hub
from stylegraft.encoders.places import place
from stylegraft.encoders.protocol import Frozen
from stylegraft.encoders.table import INCEPTION_FILE, INCEPTION_SHA256
from stylegraft.errors import StylegraftError

_PINNED = re.compile(r"(.+)@([0-9a-f]{64})")  # the user's word for a file of his own: PATH@SHA256


class Inception(Frozen):
    """`inception`: the pooled features, 2048 numbers an image. The file resizes to 299 px itself, bilinearly and
    without antialiasing, as the TensorFlow of FID's first day did. Another program is `inception-` and the
    first eight digits of its digest.
    """

    dim = 2048

    def __init__(self, program: bytes, name: str) -> None:
        super().__init__()
        self.digest = hashlib.sha256(program).hexdigest()
        self.name = "inception" if self.digest == INCEPTION_SHA256 else f"inception-{self.digest[:8]}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as such
                self.network = torch.jit.load(io.BytesIO(program), map_location="cpu")
        except (RuntimeError, ValueError, TypeError) as error:
            raise StylegraftError(f"{name}: not a TorchScript file ({_first_line(error)})") from None
        self.requires_grad_(False)
        self.network.eval()  # batch statistics would halve an FID, as FreezeD's published ones
        try:
            found = list(self.encode(torch.zeros(1, 3, 32, 32)).shape)
        except (RuntimeError, AttributeError) as error:
            raise StylegraftError(
                f"{name}: its program does not take (images, return_features=True): {_first_line(error)}"
            ) from None
        if found != [1, self.dim]:
            raise StylegraftError(f"{name}: gives features {found} of one image, expected [1, {self.dim}]")

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, H, W] in 0..255."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return images * 127.5 + 127.5

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> features [B, 2048].

        Rounded to uint8 as the file's own users do, but for images that want a gradient: those stay float.
        """
        if not x.requires_grad:
            x = x.round().clamp(0, 255).to(torch.uint8)
        # The optimiser of TorchScript specialises on the shapes of the first calls: slower, and not the same sums.
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            return self.network(x, return_features=True)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> features [B, 2048]."""
        return self.encode(self.preprocess(images))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :160
    ]


def load_inception(where: str = "", device: torch.device | str = "cpu") -> Inception:
    """The encoder from `where` (FILE, hf://OWNER/REPO/FILE@REVISION, either with @SHA256), `STYLEGRAFT_INCEPTION`, or
    the cache.

    Raises StylegraftError when there is none, when its SHA-256 is neither the published one nor the one named, and
    when it is not such a program.
    """
    where, named = match.groups() if (match := _PINNED.fullmatch(where)) else (where, "")
    found = place("inception", where)
    path = hub.fetch(found)[0] if isinstance(found, str) else found
    try:
        program = path.read_bytes()
    except OSError as error:
        raise StylegraftError(f"{path}: cannot be read ({error.strerror})") from None
    digest = hashlib.sha256(program).hexdigest()
    if digest not in (INCEPTION_SHA256, named):
        raise StylegraftError(
            f"{path}: SHA-256 {digest}, expected {named or INCEPTION_SHA256}"
            f"{'' if named else f' (the published {INCEPTION_FILE})'}; not run, for a TorchScript file is a program. "
            f"If you trust it: inception:{path}@{digest}"
        )
    return Inception(program, str(path)).to(device)
