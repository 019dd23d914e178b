"""How a program ends: with one sentence for what the user can mend, else with the library's own traceback."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import re
import select
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmbeitv2.errors import InputError

# How warnings of libraries begin, as patterns, that come at every start and that nobody can do anything about.
_HARMLESS_WARNINGS = (
    'Fail to import ``MultiScaleDeformableAttention``',
    "'pin_memory' argument is set as true but",
    'The draw is False, it means that the hook',
    'The show is True, it means that only',
    'The prefix is not set in metric class',
)
# Announcements to those who develop with a library.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


@contextmanager
def one_sentence_errors(program: str) -> Iterator[None]:
    """Ends the program with ``PROGRAM: error: SENTENCE`` and exit code 1 if the user's input is wrong.

    That is an :class:`InputError`, a file that cannot be read or written, or a full disk. Ctrl-C ends the program with
    exit code 130, a closed pipe (``| head``) silently. Any other exception passes with its traceback.

    Args:
        program: its name, as the user typed it.
    """
    former, logging.raiseExceptions = logging.raiseExceptions, False  # a full disk must not fill the screen
    try:
        with warnings.catch_warnings():
            for message in _HARMLESS_WARNINGS:
                warnings.filterwarnings('ignore', message)
            for category in _FOR_DEVELOPERS:
                warnings.simplefilter('ignore', category)
            yield
            sys.stdout.flush()
    except (KeyboardInterrupt, SyntaxError) as error:  # mmengine's Config.pretty_text makes the second of the first
        if isinstance(error, SyntaxError) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        _write(f'{program}: interrupted')
        raise SystemExit(128 + signal.SIGINT) from None
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            raise SystemExit(128 + signal.SIGPIPE) from None
        sentence = _sentence(error)
        if sentence is None:
            raise
        line = f'{program}: error: {" ".join(sentence.split())}'
        if summary := os.environ.get('TORCHELASTIC_ERROR_FILE'):  # which torchrun shows when all processes have ended
            Path(summary).write_text(json.dumps({'message': line, 'timestamp': int(time.time())}))
        _write(line)
        raise SystemExit(1) from None
    finally:
        logging.raiseExceptions = former


def _sentence(error: InputError | OSError) -> str | None:
    if isinstance(error, InputError):  # of a data-loading process, torch gives the traceback as text
        return re.split(r'^mmbeitv2\.errors\.\w+: ', str(error), flags=re.MULTILINE)[-1]
    if error.filename is not None or error.errno == errno.ENOSPC:
        return f'{error.filename!r}: {error.strerror}' if error.filename is not None else error.strerror
    return None


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more; what is left for it then goes nowhere."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):  # no real file
        poll.register(sys.stdout.fileno(), 0)
    is_gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_gone


def _write(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to read it
        sys.stderr.write(f'{line}\n')
        sys.stderr.flush()


@contextmanager
def silent_imports() -> Iterator[None]:
    """Hides what libraries print while they are imported ("Could not import OneDL")."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
