"""How a program ends: with one sentence for what the user can mend, else with the library's own traceback."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmbeitv2.errors import InputError


@contextmanager
def one_sentence_errors(program: str) -> Iterator[None]:
    """Ends the program with ``PROGRAM: error: SENTENCE`` and exit code 1 if the user's input is wrong.

    That is an :class:`InputError`, a file that cannot be read or written, or a full disk. Ctrl-C ends the program with
    exit code 130. Any other exception passes with its traceback.

    Args:
        program: its name, as the user typed it.
    """
    try:
        yield
    except (KeyboardInterrupt, SyntaxError) as error:  # mmengine's Config.pretty_text makes the second of the first
        if isinstance(error, SyntaxError) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        sys.stderr.write(f'{program}: interrupted\n')
        raise SystemExit(128 + signal.SIGINT) from None
    except (InputError, OSError) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        line = f'{program}: error: {" ".join(sentence.split())}'
        if summary := os.environ.get('TORCHELASTIC_ERROR_FILE'):  # which torchrun shows when all processes have ended
            Path(summary).write_text(json.dumps({'message': line, 'timestamp': int(time.time())}))
        sys.stderr.write(f'{line}\n')
        raise SystemExit(1) from None


def _sentence(error: InputError | OSError) -> str | None:
    if isinstance(error, InputError):  # of a data-loading process, torch gives the traceback as text
        return re.split(r'^mmbeitv2\.errors\.\w+: ', str(error), flags=re.MULTILINE)[-1]
    if error.errno == errno.ENOSPC:
        from mmbeitv2.fileio.atomic import cannot_write  # which imports mmengine

        return str(cannot_write(error.filename or 'a file', error))
    return None if error.filename is None else f'{error.filename!r}: {error.strerror}'
