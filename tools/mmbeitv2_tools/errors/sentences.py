"""From an exception to one sentence: what is wrong, where, and what to do about it."""

from __future__ import annotations

import errno
import re
import traceback
from dataclasses import dataclass

from mmbeitv2.errors import InputError, action_of
from mmbeitv2_tools.errors.components import Component

# Longest reason of a library that is quoted, in characters.
_MAX_QUOTE = 400

_SMALLER = 'Use a smaller batch_size, a smaller model, or more GPUs.'
_FULL = 'Free some space, then run the same command again.'
_OS_REASONS = {
    errno.ENOSPC: ('the disk is full', _FULL),
    errno.EDQUOT: ('the disk quota is used up', _FULL),
    errno.EFBIG: (
        'the file would be larger than the system allows',
        'Raise the limit (ulimit -f), or use another disk.',
    ),
    errno.EROFS: ('the file system is read-only', 'Choose a folder on another file system.'),
    errno.EACCES: ('permission denied', 'Change its permissions, or choose another path.'),
    errno.EPERM: ('the system does not permit this operation', 'Change its permissions, or choose another path.'),
    errno.EISDIR: ('it is a folder', 'Pass the path of a file.'),
    errno.ENOTDIR: ('a part of its path is a file, not a folder', 'Choose another path.'),
    errno.EEXIST: ('it exists already and is a file', 'Choose another path, or move that file away.'),
    errno.ENOENT: ('no such file or folder', 'Check the path.'),
    errno.ELOOP: ('its symbolic links form a loop', 'Remove one of them.'),
    errno.ENAMETOOLONG: ('the name is too long', 'Choose a shorter name.'),
    errno.EMFILE: ('too many files are open', 'Raise the limit (ulimit -n), or use a smaller num_workers.'),
    errno.ENFILE: ('too many files are open on this machine', 'Stop other programs, or use a smaller num_workers.'),
    errno.EIO: ('the disk reports an error', 'Check the disk.'),
    errno.ENOMEM: ('there is not enough memory', _SMALLER),
    errno.EADDRINUSE: ('the address is in use', 'Set the environment variable PORT to another number, such as 29501.'),
    errno.ECONNREFUSED: ('the connection was refused', 'Check the address, and that the other side is running.'),
}
# Reports of libraries whose cause and remedy are known: (pattern, sentence); \1 is the pattern's first group.
_KNOWN_REPORTS = (
    (
        r'port: (\d+).*(?:EADDRINUSE|address already in use)',
        r'port \1 is in use by another program. Set the environment variable PORT to another number, such as 29501.',
    ),
    (
        r'(?:CUDA|HIP|MPS) (?:error: )?out of memory|CUBLAS_STATUS_ALLOC_FAILED',
        f'the GPU is out of memory. {_SMALLER} --amp also needs less memory.',
    ),
    (
        r"can't allocate memory|[Uu]nable to allocate|not enough memory|Cannot allocate memory",
        f'this machine is out of memory. {_SMALLER}',
    ),
    (
        r'DataLoader worker.*killed by signal: Bus error|insufficient shared memory|unable to \w+ (?:to )?.*shm',
        (
            'a data-loading process ran out of shared memory. Enlarge /dev/shm (docker run --shm-size), or use a '
            'smaller num_workers or batch_size.'
        ),
    ),
    (
        r'DataLoader worker \(pid (\d+)\) is killed by signal: (.*?)\.',
        r'data-loading process \1 was ended by the system (\2), most likely because the machine ran out of '
        'memory. Use a smaller num_workers or batch_size.',
    ),
    (
        r'DataLoader worker \(pid\(s\) ([\d, ]+)\) exited unexpectedly',
        r'data-loading process \1 ended unexpectedly. Run with num_workers=0 to see why.',
    ),
    (
        r'[Tt]imed out after (\d+) seconds waiting for clients|[Cc]lient socket has timed out after (\d+)',
        (
            'the other processes of this run could not be reached in time. Check NNODES, NODE_RANK, MASTER_ADDR and '
            'PORT on every machine.'
        ),
    ),
)
# How libraries say that another process of the same run has ended.
_LOST_PEER = re.compile(
    r'Connection (?:closed|reset) by (?:remote )?peer|remote process exited|ncclRemoteError|Broken pipe|Socket closed|'
    r'[Cc]onnection was likely closed|No backend type associated|NCCL communicator was aborted'
)


@dataclass(frozen=True)
class Report:
    """What is said of an error.

    Args:
        sentence: without the name of the program.
        needs_traceback: whether the sentence leaves open where the fault lies.
        is_consequence: whether the error only shows that another process of the run has ended.
    """

    sentence: str
    needs_traceback: bool = False
    is_consequence: bool = False


def report_of(error: BaseException) -> Report:
    """What to say of an error; errors of data-loading processes are told as if they had come up here."""
    name, message = _original(error)
    action = action_of(error)
    if isinstance(error, InputError):
        return Report(one_line(message))
    if isinstance(error, OSError):
        sentence = _os_sentence(error, message)
        if sentence is not None:
            # An error while writing knows no file: say what was being written.
            return Report(f'while {action}: {sentence}' if action and error.filename is None else sentence)
    for pattern, known in _KNOWN_REPORTS:
        found = re.search(pattern, message, flags=re.DOTALL)
        if found:
            return Report(found.expand(known))
    if isinstance(error, MemoryError):
        return Report(f'this machine is out of memory. {_SMALLER}')
    component = Component.of(error)
    mistake = component.mistake(error, message) if component else None
    if action is None and component is not None:
        action = f'building {component.name}'
    prefix = f'while {action}: ' if action else ''
    if mistake is not None:
        return Report(prefix + mistake)
    sentence = f'{prefix}{_quote(message, error)} ({name})'
    return Report(sentence, needs_traceback=True, is_consequence=bool(_LOST_PEER.search(message)))


def one_line(text: str) -> str:
    """Text without line breaks or repeated blanks."""
    return ' '.join(text.split())


def _original(error: BaseException) -> tuple[str, str]:
    """Type and message of an error, or of the one in a data-loading process that torch made it from."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not re.match(r'Caught \w+ in ', message):
        return type(error).__name__, message.strip()
    # "Caught T in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\nm.T: message"
    frames_end = max((end.end() for end in re.finditer(r'^  .*\n', message, flags=re.MULTILINE)), default=0)
    qualified, _, reason = message[frames_end:].strip().partition(': ')
    return qualified.rpartition('.')[2], reason.strip('\'"' if qualified == 'KeyError' else None)


def _os_sentence(error: OSError, message: str) -> str | None:
    """The sentence of an error of the operating system, None for one that is not in the table."""
    number, names = error.errno, [error.filename, error.filename2]
    if number is None:  # made by torch from the text of an error in a data-loading process, or by a library
        found = re.match(r"\[Errno (\d+)\] .*?(?:: '(.*)')?$", message)
        if found is None:
            return one_line(message) if isinstance(error, FileNotFoundError) else None
        number, names = int(found[1]), [found[2]]
    if number not in _OS_REASONS:
        return None
    reason, remedy = _OS_REASONS[number]
    files = ' -> '.join(repr(str(name)) for name in names if name is not None)
    return f'{files}: {reason}. {remedy}' if files else f'{reason}. {remedy}'


def _quote(message: str, error: BaseException) -> str:
    """The message of a library in one line, cut where it becomes a text; of an assertion without one, its condition."""
    if not message:
        where = traceback.extract_tb(error.__traceback__)
        line = f'{where[-1].line} in {where[-1].filename}, line {where[-1].lineno}' if where else 'no message'
        return f'failed: {line}'
    text = one_line(message).rstrip('.')
    return text if len(text) <= _MAX_QUOTE else f'{text[:_MAX_QUOTE].rpartition(" ")[0]} ...'
