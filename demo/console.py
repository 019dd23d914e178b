"""What the quickstart shows, and how it runs the commands of a stage."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mmbeitv2.errors import InputError

# Seconds that a stage has to end in when it is told to.
_GRACE = 8.0


def call(stage: str, command: list[str], folder: Path, log: Path, start: float) -> None:
    """Runs a Python command, its output into a log file, and shows how far it is.

    When this returns or raises, the command and all processes that it started have ended.

    Args:
        stage: its name, for the screen.
        command: arguments of Python.
        folder: to run in.
        log: file to which the output is added.
        start: ``time.monotonic()`` at the start of the stage.

    Raises:
        InputError: with the command's own last sentence if it fails.
    """
    is_terminal = sys.stdout.isatty()
    shown = start
    with log.open('a') as stream:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                time.sleep(0.5)
                if time.monotonic() - shown >= (1 if is_terminal else 20):
                    shown = time.monotonic()
                    line = f'{stage:17} {shown - start:5.0f} s  {progress(log)}'
                    say(f'\r{line[:110]:110}' if is_terminal else line, end='' if is_terminal else '\n')
        finally:
            _end(process)
    if is_terminal:
        say('\r' + ' ' * 110 + '\r', end='')
    if process.returncode:
        lines = [line.strip() for line in log.read_text(errors='replace').splitlines() if line.strip()]
        reason = lines[-1].rpartition(': error: ')[2] if lines else 'it wrote nothing'
        raise InputError(f'stage {stage} failed: {reason} (log: {str(log)!r})')


def _end(process: subprocess.Popen) -> None:
    """Ends a process that leads a session, and the others of it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)
    with contextlib.suppress(ProcessLookupError):  # none is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def progress(log: Path) -> str:
    """The last line of a log that tells of training, without date and logger."""
    with log.open('rb') as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = stream.read().decode(errors='replace').splitlines()
    for line in reversed(lines):
        if any(word in line for word in ('Epoch(', 'Iter(', 'epoch ')):
            return ' '.join(line.rpartition(' - INFO - ')[2].split())
    return ''


def say(text: str, end: str = '\n') -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def table(summary: dict) -> str:
    """The summary for a person."""
    rows = [
        (
            'codebook usage',
            f'{summary["codebook_usage"]:.1f} %',
            f'reconstruction loss {summary["reconstruction_loss"]:.3f} (1 - cosine)',
        ),
        (
            'masked-token accuracy',
            f'{summary["mim_accuracy"]:.1f} %',
            (
                f'chance {summary["mim_accuracy_chance"]:.1f} %, always the most frequent code '
                f'{summary["mim_accuracy_majority"]:.1f} %'
            ),
        ),
        (
            'classification, top-1',
            f'{summary["top1_pretrained"]:.1f} %',
            f'from scratch {summary["top1_scratch"]:.1f} %',
        ),
        ('segmentation, mIoU', f'{summary["miou_pretrained"]:.1f} %', f'from scratch {summary["miou_scratch"]:.1f} %'),
        ('time', f'{sum(summary["seconds"].values()):.0f} s', 'without the installation'),
    ]
    return '\n'.join(f'{name:24}{value:>9}   {note}' for name, value, note in rows)


def seeds_table(summaries: list[dict]) -> str:
    """Mean and standard deviation over seeds."""
    lines = []
    for key in (
        'codebook_usage',
        'reconstruction_loss',
        'mim_accuracy',
        'top1_pretrained',
        'top1_scratch',
        'miou_pretrained',
        'miou_scratch',
    ):
        values = [summary[key] for summary in summaries]
        lines.append(
            f'{key:22}{statistics.mean(values):8.3f} ± {statistics.stdev(values):.3f}   '
            f'{"  ".join(f"{value:.3f}" for value in values)}'
        )
    return '\n'.join(lines)
