"""What differs from core to core in the last bits."""

from __future__ import annotations

import torch

# Longer sums in one register, and bfloat16 and float16 in hardware: other roundings than on the cores before.
AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
