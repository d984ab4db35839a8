"""The teacher of the builds: the published FFHQ MobileStyleGAN (the asset "mobile"), whole or cut."""

from __future__ import annotations

from typing import Literal

from stylegraft.checkpoints import assets
from stylegraft.checkpoints.mobile_faces import mobile_faces
from stylegraft.networks.generator import Generator


def teacher(resolution: int = 1024, head: Literal["wavelet", "pixel"] = "wavelet") -> Generator:
    """`mobile_faces` of what `stylegraft assets get mobile` got, or of the path in STYLEGRAFT_MOBILE."""
    return mobile_faces(assets.tensors("mobile"), resolution, head)
