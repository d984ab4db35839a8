"""Prompt templates as data: a domain's name stands in several sentences, whose embeddings are averaged.

`imagenet` are the 80 templates of CLIP's zero-shot ImageNet (Radford et al., ICML 2021), which StyleGAN-NADA and
HyperDomainNet took over (79 of them in their code). With another table a score is another score.
"""

from __future__ import annotations

from stylegraft.errors import StylegraftError, nearest

# Each stands once with `a` and once with `the` for *
_FRAMES = (
    "a photo of * {}.", "a bad photo of * {}.", "a good photo of * {}.", "a bright photo of * {}.",
    "a dark photo of * {}.", "a blurry photo of * {}.", "a cropped photo of * {}.", "a close-up photo of * {}.",
    "a pixelated photo of * {}.", "a low resolution photo of * {}.", "a jpeg corrupted photo of * {}.",
    "a black and white photo of * {}.", "a photo of * hard to see {}.", "a photo of * clean {}.",
    "a photo of * dirty {}.", "a photo of * cool {}.", "a photo of * nice {}.", "a photo of * weird {}.",
    "a photo of * large {}.", "a photo of * small {}.", "a sculpture of * {}.", "a rendering of * {}.",
    "a rendition of * {}.", "a painting of * {}.", "a drawing of * {}.", "a sketch of * {}.", "a doodle of * {}.",
    "a tattoo of * {}.", "graffiti of * {}.", "art of * {}.", "itap of * {}.", "* cartoon {}.", "* plastic {}.",
    "* toy {}.", "* plushie {}.", "* origami {}.", "* embroidered {}.", "* {} in a video game.",
)  # fmt: skip
_OTHERS = ("a photo of many {}.", "a photo of one {}.", "a photo of my {}.", "itap of my {}.")

TEMPLATES: dict[str, tuple[str, ...]] = {
    "plain": ("{}",),
    "a": ("a {}",),  # the single template of StyleDomain's configurations
    "imagenet": (*(frame.replace("*", word) for frame in _FRAMES for word in ("a", "the")), *_OTHERS),
}


def filled(text: str, templates: str) -> list[str]:
    """A text in every template of a table; raises StylegraftError for an unknown table and an empty text."""
    if templates not in TEMPLATES:
        raise StylegraftError(
            f"no templates {templates!r}{nearest(templates, TEMPLATES)}; there are {', '.join(TEMPLATES)}"
        )
    if not text.strip():
        raise StylegraftError("an empty sentence says nothing of a domain; expected some words")
    return [template.replace("{}", text.strip()) for template in TEMPLATES[templates]]
