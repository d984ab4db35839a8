"""Generators and discriminators in plain PyTorch: no build step, any order of derivative."""

from stylegraft.networks.discriminator import Discriminator, DOutput, build_discriminator
from stylegraft.networks.generator import Generator, Layer, Noise, Output, blend_noise, build_generator

__all__ = [
    "DOutput",
    "Discriminator",
    "Generator",
    "Layer",
    "Noise",
    "Output",
    "blend_noise",
    "build_discriminator",
    "build_generator",
]
