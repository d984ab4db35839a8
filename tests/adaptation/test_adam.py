"""Adam is torch's, to the bit, and starts without the compiler."""

from __future__ import annotations

import subprocess
import sys

import torch

from stylegraft.adaptation.adam import Adam

ALONE = """
import sys, torch
from stylegraft.adaptation.adam import Adam
leaf = torch.zeros(3, requires_grad=True)
adam = Adam([leaf], fused=True)
leaf.sum().backward()
adam.step()
adam.zero_grad()
adam.load_state_dict(adam.state_dict())
assert leaf.lt(0).all()
assert "torch._dynamo" not in sys.modules
"""


def test_its_steps_are_those_of_torch():
    def after(kind: type[torch.optim.Adam]) -> torch.Tensor:
        leaf = torch.linspace(-1, 1, 7).requires_grad_()
        adam = kind([leaf], lr=0.1, betas=(0.0, 0.9), fused=True)
        for _ in range(5):
            adam.zero_grad()
            leaf.pow(4).sum().backward()
            adam.step()
        return leaf.detach()

    assert torch.equal(after(Adam), after(torch.optim.Adam))


def test_it_does_not_import_the_compiler():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
