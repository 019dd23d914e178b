"""What the quickstart shows, and how it runs the commands of a stage."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mmbeitv2.errors import InputError

# Seconds between two lines that tell how far a stage is.
_EVERY = 20


def call(stage: str, command: list[str], folder: Path, log: Path, start: float) -> None:
    """Runs a Python command, its output into a log file, and shows now and then how far it is.

    Args:
        stage: its name, for the screen.
        command: arguments of Python.
        folder: to run in.
        log: file to which the output is added.
        start: ``time.monotonic()`` at the start of the stage.

    Raises:
        InputError: with the command's own last sentence if it fails.
    """
    with (
        log.open('a') as stream,
        subprocess.Popen([sys.executable, *command], cwd=folder, stdout=stream, stderr=stream) as process,
    ):
        try:
            while process.poll() is None:
                try:
                    process.wait(_EVERY)
                except subprocess.TimeoutExpired:
                    say(f'{stage:17} {time.monotonic() - start:5.0f} s  {progress(log)}')
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        reason = log.read_text(errors='replace').strip().rpartition('\n')[2].rpartition(': error: ')[2]
        raise InputError(f'stage {stage} failed: {reason} (log: {str(log)!r})')


def progress(log: Path) -> str:
    """The last line of a log that tells of training, without date and logger."""
    lines = re.findall(r'(?:Epoch\(|Iter\(|epoch ).*', log.read_text(errors='replace'))
    return ' '.join(lines[-1].split())[:80] if lines else ''


def say(text: str) -> None:
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def table(summary: dict) -> str:
    """The summary for a person."""
    text = """\
codebook usage              {codebook_usage:5.1f} %   reconstruction loss {reconstruction_loss:.3f} (1 - cosine)
masked-token accuracy       {mim_accuracy:5.1f} %   chance {mim_accuracy_chance:.1f} %, always the most frequent code \
{mim_accuracy_majority:.1f} %
classification, top-1       {top1_pretrained:5.1f} %   from scratch {top1_scratch:.1f} %
segmentation, mIoU          {miou_pretrained:5.1f} %   from scratch {miou_scratch:.1f} %
time                        {total:5.0f} s   without the installation"""
    return text.format(**summary, total=sum(summary['seconds'].values()))


def seeds_table(summaries: list[dict]) -> str:
    """Mean and standard deviation over seeds."""
    lines = []
    for key in [key for key in summaries[0] if key not in ('seed', 'seconds')]:
        values = [summary[key] for summary in summaries]
        all_of_them = '  '.join(f'{value:.3f}' for value in values)
        lines.append(f'{key:22}{statistics.mean(values):8.3f} ± {statistics.stdev(values):.3f}   {all_of_them}')
    return '\n'.join(lines)
