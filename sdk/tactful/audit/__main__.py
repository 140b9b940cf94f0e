"""`python -m tactful.audit`: for whoever has evidence and nothing else."""

import sys

from tactful.audit.cli import main

sys.exit(main())
