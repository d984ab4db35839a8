"""`python -m stylegraft` is `stylegraft`."""

from stylegraft.cli.main import main

raise SystemExit(main())
