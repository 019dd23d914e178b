"""Starts the processes of dist_train.sh and dist_test.sh, and says why one of them failed.

    python tools/launch.py {train.py,test.py} PROCESSES [options of the script]

Several machines: run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set. Two runs on one machine need
different values of PORT.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from mmbeitv2_tools.errors.reporting import LAUNCHER_VARIABLE, REPORTS_VARIABLE, one_sentence_errors
from mmbeitv2_tools.errors.signals import EndedBySignalError

from mmbeitv2.errors import InputError

_DEFAULT_PORT = 29500


def main(argv: list[str] | None = None) -> None:
    script, processes, *options = sys.argv[1:] if argv is None else argv
    path = Path(__file__).with_name(script)
    options += ['--launcher', 'pytorch']
    _parse(path, options)
    with one_sentence_errors(script):
        count = max(1, _whole_number('the number of GPUs', processes))
        nodes = _whole_number('NNODES', os.environ.get('NNODES', '1'), 1)
        rank = _whole_number('NODE_RANK', os.environ.get('NODE_RANK', '0'), 0, nodes - 1)
        port = _whole_number('PORT', os.environ.get('PORT', str(_DEFAULT_PORT)), 1, 65535)
        if rank == 0:
            _require_free(port)
        # On CPU the processes share the cores.
        os.environ.setdefault('OMP_NUM_THREADS', str(-(-(os.cpu_count() or 1) // count)))
        with tempfile.TemporaryDirectory(prefix='mmbeitv2-launch-') as reports:
            os.environ |= {REPORTS_VARIABLE: reports, LAUNCHER_VARIABLE: str(os.getpid())}
            line, code = _run([str(path), *options], count, nodes, rank, port, Path(reports))
        if code:
            sys.stderr.write(f'{line or f"{script}: error: a process ended with exit code {code}"}\n')
            raise SystemExit(code)


def _parse(path: Path, options: list[str]) -> None:
    """Lets the script read its options, so that what is wrong with them is said once, and ``--help`` answered."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.argv[0] = path.name
    module.parse_args(options)


def _whole_number(name: str, text: str, lowest: int = 0, highest: int | None = None) -> int:
    if not text.isascii() or not text.isdigit():
        raise InputError(f'{name} must be a whole number, not {text!r}')
    if int(text) < lowest or (highest is not None and int(text) > highest):
        limit = f'at least {lowest}' if highest is None else f'from {lowest} to {highest}'
        raise InputError(f'{name} must be {limit}, not {text}')
    return int(text)


def _require_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(('', port))
        except OSError as error:
            raise InputError(
                f'port {port} cannot be used ({error.strerror}). Set the environment variable PORT to another '
                f'number, such as {port + 1}.'
            ) from error


def _run(command: list[str], count: int, nodes: int, rank: int, port: int, reports: Path) -> tuple[str | None, int]:
    """Runs the processes of this machine to their end: the last word of the first that failed, and the exit code."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # the sentence says it all
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=count,
        run_id='none',
        rdzv_backend='static',
        rdzv_endpoint=f'{os.environ.get("MASTER_ADDR", "127.0.0.1")}:{port}',
        rdzv_configs={'rank': rank, 'timeout': 900},
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)('-u', *command)
    except SignalException as error:
        raise EndedBySignalError(error.sigval) from None
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        return _first_failure(reports, codes, Path(command[0]).name)
    return None, 0


def _first_failure(reports: Path, codes: dict[int, int], script: str) -> tuple[str | None, int]:
    """The process that failed by itself; those that only lost their peer, or were told to end, come last."""
    told = [json.loads(path.read_text()) for path in reports.glob('*.json')]
    told.sort(key=lambda report: (report['is_consequence'], report['time']))
    killed = {rank: -code for rank, code in codes.items() if code < 0}
    if killed and (not told or told[0]['is_consequence']):
        rank, number = min(killed.items())
        reason = (
            ', most likely because the machine ran out of memory. Use a smaller batch_size.'
            if number == signal.SIGKILL
            else ''
        )
        return f'{script}: error: process {rank} was ended by {signal.Signals(number).name}{reason}', 128 + number
    if told:
        return told[0]['line'], told[0]['code']
    return None, min(codes.values())


if __name__ == '__main__':
    main()
