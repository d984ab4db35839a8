"""What a domain is for: one module an application; the command line and the studio call these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.applications.control import Blend, control_curve, control_path
    from stylegraft.applications.directions import Direction, channel, ganspace, sefa
    from stylegraft.applications.edit import edited, edited_code
    from stylegraft.applications.export import Graph, export_graph
    from stylegraft.applications.hub import pull, push
    from stylegraft.applications.invert import Inversion, invert_images
    from stylegraft.applications.keyframes import Morph, along, cross_domain, tour
    from stylegraft.applications.labels import (
        attribute_channels,
        boundary,
        channels_direction,
        score,
        tell_apart,
    )
    from stylegraft.applications.latents import Latents, of_seeds
    from stylegraft.applications.mixing import Mixer
    from stylegraft.applications.morph import morph_frames
    from stylegraft.applications.photos import Photo, invert_photos
    from stylegraft.applications.sharing import write_folder
    from stylegraft.applications.transfer import Gap, gap, transfer_domain, transfer_styles
    from stylegraft.applications.translate import translate_codes, with_reference
    from stylegraft.applications.video import write_video

__all__ = [
    "Blend",
    "Direction",
    "Gap",
    "Graph",
    "Inversion",
    "Latents",
    "Mixer",
    "Morph",
    "Photo",
    "along",
    "attribute_channels",
    "boundary",
    "channel",
    "channels_direction",
    "control_curve",
    "control_path",
    "cross_domain",
    "edited",
    "edited_code",
    "export_graph",
    "ganspace",
    "gap",
    "invert_images",
    "invert_photos",
    "morph_frames",
    "of_seeds",
    "pull",
    "push",
    "score",
    "sefa",
    "tell_apart",
    "tour",
    "transfer_domain",
    "transfer_styles",
    "translate_codes",
    "with_reference",
    "write_folder",
    "write_video",
]

__getattr__ = lookup(
    __name__,
    {
        "control": ("Blend", "control_curve", "control_path"),
        "directions": ("Direction", "channel", "ganspace", "sefa"),
        "edit": ("edited", "edited_code"),
        "export": ("Graph", "export_graph"),
        "hub": ("pull", "push"),
        "invert": ("Inversion", "invert_images"),
        "keyframes": ("Morph", "along", "cross_domain", "tour"),
        "labels": ("attribute_channels", "boundary", "channels_direction", "score", "tell_apart"),
        "latents": ("Latents", "of_seeds"),
        "mixing": ("Mixer",),
        "morph": ("morph_frames",),
        "photos": ("Photo", "invert_photos"),
        "sharing": ("write_folder",),
        "transfer": ("Gap", "gap", "transfer_domain", "transfer_styles"),
        "translate": ("translate_codes", "with_reference"),
        "video": ("write_video",),
    },
)
