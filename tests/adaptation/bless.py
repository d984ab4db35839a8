"""Write the golden losses anew: `PYTHONPATH=src:. python -m tests.adaptation.bless`; the commit says why."""

from __future__ import annotations

import json

from .test_loop import GOLDEN, RECIPES, losses

if __name__ == "__main__":
    text = json.dumps({name: losses(name) for name in RECIPES}, indent=1)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")
