"""How a program ends: the sentence on the screen and in the log, the traceback in a file, the exit code."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmbeitv2_tools.errors.noise import harmless_warnings_ignored
from mmbeitv2_tools.errors.sentences import one_line, report_of
from mmbeitv2_tools.errors.signals import EndedBySignalError, end_with_parent, signals_as_exceptions

# Set to 1, tracebacks go to the terminal.
TRACEBACK_VARIABLE = 'MMBEITV2_TRACEBACK'
# Set by tools/launch.py for the processes that it starts: the folder for their reports, and its process id.
REPORTS_VARIABLE = 'MMBEITV2_REPORTS'
LAUNCHER_VARIABLE = 'MMBEITV2_LAUNCHER'


@contextmanager
def one_sentence_errors(program: str) -> Iterator[None]:
    """Ends the program with one line on the screen, ``PROGRAM: error: MESSAGE``, whatever is raised inside.

    The exit code is 1, or 128 + the signal's number if a signal ends it; a closed pipe (``| head``) ends it silently.
    If the message cannot name the cause, it names the file that holds the traceback; with ``MMBEITV2_TRACEBACK=1`` the
    traceback is printed above the message instead. The log file gets both.

    Args:
        program: its name, as the user typed it.
    """
    # What a process starts itself has another parent, and nobody reads its reports.
    launcher, reports = os.environ.pop(LAUNCHER_VARIABLE, None), os.environ.pop(REPORTS_VARIABLE, None)
    last_word = _LastWord(program, None if reports is None else Path(reports))
    former, logging.raiseExceptions = logging.raiseExceptions, False  # a full disk must not fill the screen
    try:
        with signals_as_exceptions(last_word.ended_by), harmless_warnings_ignored():
            if launcher is not None:
                end_with_parent(int(launcher))
            yield
            sys.stdout.flush()
    except (Exception, EndedBySignalError, KeyboardInterrupt) as error:
        if (number := _signal_behind(error)) is not None:
            last_word.ended_by(number)
            raise SystemExit(128 + number) from None
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            _silence_stdout()
            raise SystemExit(128 + signal.SIGPIPE) from None
        last_word.failed_by(error)
        raise SystemExit(1) from None
    finally:
        logging.raiseExceptions = former


@dataclass(frozen=True)
class _LastWord:
    """Says why the program ends, at the end of its log file and then on the screen.

    Args:
        program: its name.
        reports: folder in which the launcher of several processes looks for their last words; it shows one of them.
    """

    program: str
    reports: Path | None

    def failed_by(self, error: BaseException) -> None:
        report = report_of(error)
        text = ''.join(traceback.format_exception(error))
        sentence = report.sentence
        if os.environ.get(TRACEBACK_VARIABLE, '0') not in ('', '0'):
            _write(text)
        elif report.needs_traceback:
            sentence = f'{sentence}. {_where_traceback_is(text)}'
        self._say(f'{self.program}: error: {sentence}', 1, report.is_consequence)

    def ended_by(self, number: int) -> None:
        """For a signal."""
        words = 'interrupted' if number == signal.SIGINT else f'ended by {signal.Signals(number).name}'
        self._say(f'{self.program}: {words}', 128 + number, is_consequence=True)

    def _say(self, line: str, code: int, is_consequence: bool) -> None:
        line = one_line(line)
        logging.shutdown()
        if (log_file := _log_file()) is not None:
            _append(log_file, f'{line}\n')
        _silence_stdout()
        if self.reports is not None:
            report = dict(line=line, code=code, is_consequence=is_consequence, time=time.time())
            with contextlib.suppress(OSError):
                (self.reports / f'{os.getpid()}.json').write_text(json.dumps(report))
                return
        _write(f'{line}\n')


def _signal_behind(error: BaseException | None) -> int | None:
    """The signal that caused an error, if one did; mmengine makes another error of one that comes while it formats."""
    while error is not None:
        if isinstance(error, (EndedBySignalError, KeyboardInterrupt)):
            return getattr(error, 'number', signal.SIGINT)
        error = error.__cause__ or error.__context__
    return None


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
