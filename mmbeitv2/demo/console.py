"""What the quickstart shows, and how it runs the commands of a stage."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from mmbeitv2.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def call(name: str, command: list[str], log: Path, start: float) -> None:
    """Runs a command, its output into a log file, and shows how far it is.

    Raises:
        InputError: with the command's own last sentence if it fails.
    """
    is_terminal = sys.stdout.isatty()
    shown = start
    with log.open('a') as stream:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.5)
                if time.monotonic() - shown >= (1 if is_terminal else 20):
                    shown = time.monotonic()
                    line = f'{name:17} {shown - start:5.0f} s  {progress(log)}'
                    say(f'\r{line[:110]:110}' if is_terminal else line, end='' if is_terminal else '\n')
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if is_terminal:
        say('\r' + ' ' * 110 + '\r', end='')
    if process.returncode:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        raise InputError(f'stage {name} failed: {lines[-1].strip() if lines else "no output"} (see {log})')


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
            f'chance {summary["mim_accuracy_chance"]:.1f} %, always the commonest code '
            f'{summary["mim_accuracy_majority"]:.1f} %',
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
