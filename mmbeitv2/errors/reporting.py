"""How a program ends: the sentence on the screen and in the log, the traceback in a file, the exit code."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .noise import harmless_warnings_ignored
from .sentences import one_line, report_of
from .signals import EndedBySignalError, end_with_parent, signals_as_exceptions, words_for

# Set to 1, tracebacks go to the terminal.
TRACEBACK_VARIABLE = 'MMBEITV2_TRACEBACK'
# Set by tools/launch.py for the processes that it starts: the folder for their reports, and its process id.
REPORTS_VARIABLE = 'MMBEITV2_REPORTS'
LAUNCHER_VARIABLE = 'MMBEITV2_LAUNCHER'


@contextmanager
def one_sentence_errors(program: str) -> Iterator[None]:
    """Ends the program with one sentence on the screen, ``PROGRAM: error: SENTENCE``, whatever is raised inside.

    The exit code is 1, or 128 + the signal's number where a signal ends it; a reader that has gone (``| head``) ends
    it without a word. A sentence that leaves open where the fault lies names the file that has the traceback; with
    ``MMBEITV2_TRACEBACK=1`` it stands above the sentence instead. The log file gets both.

    Args:
        program: its name, as the user typed it.
    """
    former, logging.raiseExceptions = logging.raiseExceptions, False  # a full disk must not fill the screen
    try:
        with signals_as_exceptions(), harmless_warnings_ignored():
            if LAUNCHER_VARIABLE in os.environ:
                end_with_parent(int(os.environ[LAUNCHER_VARIABLE]))
            yield
            sys.stdout.flush()
    except (EndedBySignalError, KeyboardInterrupt) as error:
        number = getattr(error, 'number', 2)
        _end(program, f'{program}: {words_for(number)}', 128 + number, is_consequence=True)
    except BrokenPipeError as error:
        if _reader_has_gone():
            _silence_stdout()
            raise SystemExit(141) from None  # 128 + SIGPIPE, as the shell has it
        _end_by_error(program, error)
    except Exception as error:
        _end_by_error(program, error)
    finally:
        logging.raiseExceptions = former


def _end_by_error(program: str, error: Exception) -> None:
    report = report_of(error)
    text = ''.join(traceback.format_exception(error))
    sentence = report.sentence
    if os.environ.get(TRACEBACK_VARIABLE, '0') not in ('', '0'):
        _write(text)
    elif report.needs_traceback:
        sentence = f'{sentence}. {_where_traceback_is(text)}'
    _end(program, f'{program}: error: {sentence}', 1, report.is_consequence)


def _end(program: str, line: str, code: int, is_consequence: bool) -> None:
    """Says the last word: to the launcher if there is one, else on the screen."""
    logging.shutdown()
    if (log_file := _log_file()) is not None:
        _append(log_file, f'{one_line(line)}\n')
    reports = os.environ.get(REPORTS_VARIABLE)
    _silence_stdout()
    if reports is None or not _report_to_launcher(Path(reports), one_line(line), code, is_consequence):
        _write(f'{one_line(line)}\n')
    raise SystemExit(code) from None


def _report_to_launcher(folder: Path, line: str, code: int, is_consequence: bool) -> bool:
    report = dict(line=line, code=code, is_consequence=is_consequence, time=time.time())
    try:
        (folder / f'{os.environ.get("RANK", os.getpid())}.json').write_text(json.dumps(report))
    except OSError:
        return False
    return True


def _where_traceback_is(text: str) -> str:
    """Writes a traceback to the end of the log file, or to a file of its own where there is no log yet."""
    log_file = _log_file()
    if log_file is not None and _append(log_file, text):
        return f'The traceback is at the end of {str(log_file)!r}.'
    try:
        with tempfile.NamedTemporaryFile('w', prefix='mmbeitv2-traceback-', suffix='.txt', delete=False) as stream:
            stream.write(text)
    except OSError:
        return f'Set {TRACEBACK_VARIABLE}=1 to see the traceback.'
    return f'The traceback is in {stream.name!r}.'


def _log_file() -> Path | None:
    """The file of mmengine's current logger, if this process has one."""
    module = sys.modules.get('mmengine.logging')
    if module is None or not module.MMLogger._instance_dict:
        return None
    logger = module.MMLogger.get_current_instance()
    files = [handler.baseFilename for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    return Path(files[0]) if files else None


def _append(path: Path, text: str) -> bool:
    try:
        with path.open('a') as stream:
            stream.write(text)
    except OSError:
        return False
    return True


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody is left to read it
        sys.stderr.write(text)
        sys.stderr.flush()


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # closed, or no real file
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _silence_stdout() -> None:
    """Sends what is left for a standard output that cannot be written nowhere; Python would complain at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
