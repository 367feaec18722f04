"""``python -m homing`` is ``homing``."""

import sys

from homing.cli.main import main

sys.exit(main())
