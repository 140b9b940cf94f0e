"""`python -m tactful.audit`: the audit for someone who has the evidence only."""

import sys

from tactful.audit.cli import main

sys.exit(main())
