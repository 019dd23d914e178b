"""The quickstart and what it shows: a drawn sample set, a small CLIP as teacher, the stages, their pictures."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / 'tools'))  # for python -m demo.MODULE
