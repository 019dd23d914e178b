"""The implementation of ``tools/gpu_report.sh``: runs the pieces one by one, writes each result to a file, and all of
them to one page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

import mmbeitv2
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.outputs import require_writable_folder
from mmbeitv2_tools.benchmarks.gpu_pieces import PIECES

ROOT = Path(mmbeitv2.__file__).resolve().parents[1]
BEGIN, END = '<!-- gpu_report: begin -->', '<!-- gpu_report: end -->'
TIME_LIMIT = 590  # seconds of a piece


def report(args: argparse.Namespace) -> None:
    """Runs the pieces that are not done; see ``tools/gpu_report.py --help`` for ``args``.

    Raises:
        InputError: if there is no such piece, nothing can be written, or a piece failed.
    """
    if args.list:
        sys.stdout.write(''.join(f'{name}\n' for name in PIECES))
        return
    names = args.piece or list(PIECES)
    if unknown := [name for name in names if name not in PIECES]:
        raise InputError(f'--piece {unknown[0]!r} is unknown. Choose from {", ".join(PIECES)}.')
    require_writable_folder(args.work_dir, 'WORK_DIR')
    page = args.page or (ROOT / 'docs/benchmarks.md' if torch.cuda.is_available() else None)
    if page is not None:
        merge('', page, write=False)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    if device == 'CPU':
        sys.stdout.write('There is no GPU: each piece runs at a tiny size on the CPU, and its numbers mean nothing.\n')
    for number, name in enumerate(names, start=1):
        sys.stdout.write(f'[{number}/{len(names)}] {name}: ')
        sys.stdout.flush()
        sys.stdout.write(f'{_outcome(run_piece(name, device, args))}\n')
    results = {name: found for name in PIECES if (found := read_result(args.work_dir, name, device))}
    text = as_markdown(results, device)
    AtomicBackend().put_text(text, args.work_dir / 'report.md')
    if page is not None:
        merge(text, page)
    if failed := [name for name in names if 'error' in results[name]]:
        raise InputError(
            f'failed: {", ".join(failed)}; see {str(args.work_dir / "report.md")!r}, then run the command again'
        )


def run_piece(name: str, device: str, args: argparse.Namespace) -> dict:
    """The result of a piece, which is run unless it is done."""
    done = read_result(args.work_dir, name, device)
    if done and 'error' not in done:
        return done | {'was_done': True}
    start = time.perf_counter()
    result: dict = {'piece': name, 'device': device}
    try:
        if args.in_process:
            result['rows'] = PIECES[name](device == 'CPU')
        else:
            result['rows'] = _run_in_process_of_its_own(name, device, args.work_dir)
    except Exception as error:  # the other pieces go on
        lines = str(error).strip().splitlines()
        result['error'] = f'{type(error).__name__}: {lines[-1] if lines else ""}'
    result['seconds'] = round(time.perf_counter() - start, 1)
    AtomicBackend().put_text(json.dumps(result, indent=2) + '\n', args.work_dir / f'{name}.json')
    return result


def _run_in_process_of_its_own(name: str, device: str, work_dir: Path) -> list[dict]:
    """Runs a piece in its own process, so that it has all memory and a crash ends only this piece."""
    (work_dir / f'{name}.json').unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / 'tools/gpu_report.py'), str(work_dir), '--piece', name, '--in-process']
    command += ['--page', str(work_dir / 'piece.md')]
    if not (work_dir / 'piece.md').is_file():
        AtomicBackend().put_text(f'{BEGIN}\n{END}\n', work_dir / 'piece.md')
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        stderr = process.communicate(timeout=TIME_LIMIT)[1]
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f'not done after {TIME_LIMIT} seconds') from error
    finally:  # with the processes that it started, which would keep the GPU
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = read_result(work_dir, name, device)
    if result is None or 'error' in result:
        raise RuntimeError(result['error'] if result else f'exit code {process.returncode}: {stderr.strip()[-300:]}')
    return result['rows']


def read_result(work_dir: Path, name: str, device: str) -> dict | None:
    """The result of a piece; None if there is none, or if it ran on another device."""
    path = work_dir / f'{name}.json'
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    is_of_this = isinstance(result, dict) and result.get('device') == device and ('rows' in result or 'error' in result)
    return result if is_of_this else None


def _outcome(result: dict) -> str:
    if 'error' in result:
        return f'failed after {result["seconds"]} s: {result["error"]}'
    return 'done before' if 'was_done' in result else f'done in {result["seconds"]} s'


def as_markdown(results: dict[str, dict], device: str) -> str:
    """A section with a table for each piece."""
    size = 'tiny size, only to show that everything runs' if device == 'CPU' else f'PyTorch {torch.__version__}'
    lines = [f'On one {device} ({size}), by `bash tools/gpu_report.sh`. Rates are in images/s.', '']
    for name, result in results.items():
        lines += [f'### {name}', '']
        if 'error' in result:
            lines += [f'Failed: {result["error"]}', '']
            continue
        keys = list(dict.fromkeys(key for row in result['rows'] for key in row))
        lines += [f'| {" | ".join(keys)} |', f'|{"---|" * len(keys)}']
        lines += [f'| {" | ".join(_cell(row.get(key, "")) for key in keys)} |' for row in result['rows']]
        lines.append('')
    return '\n'.join(lines)


def _cell(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value).replace('|', '/')


def merge(text: str, page: Path, write: bool = True) -> None:
    """Puts a text between the two marks of a page.

    Raises:
        InputError: if the page cannot be read or has no such marks, each once and in order.
    """
    try:
        content = page.read_text()
    except OSError as error:
        raise InputError(f'--page {str(page)!r} cannot be read ({error.strerror}). Check the path.') from error
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise InputError(
            f'--page {str(page)!r} must contain each of the lines {BEGIN} and {END} exactly once. Add them.'
        )
    if write:
        before, after = content.split(BEGIN)[0], content.split(END)[1]
        AtomicBackend().put_text(f'{before}{BEGIN}\n\n{text}\n{END}{after}', page)
