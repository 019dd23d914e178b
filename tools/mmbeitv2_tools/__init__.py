"""What only the command lines need: options, launching, checks before a run, how a program ends."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # in a clone, configs of the demo import it from there
