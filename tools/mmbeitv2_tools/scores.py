"""What the tools that score a backbone share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable


def report_scores(probe: Callable[..., dict[str, float]], args: argparse.Namespace) -> None:
    """Prints the scores of a function that takes the options of a tool, and writes them to the file of ``--json``."""
    from mmbeitv2.fileio import AtomicBackend
    from mmbeitv2.fileio.outputs import require_json

    options = vars(args)
    file = options.pop('json')
    if file is not None:
        require_json(file)
    scores = probe(**options)
    sys.stdout.write(''.join(f'{name} {score:.2f}\n' for name, score in scores.items()))
    if file is not None:
        AtomicBackend().put_text(json.dumps(scores) + '\n', file)
