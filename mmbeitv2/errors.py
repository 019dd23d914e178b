"""What the command-line tools do with bad input: one sentence, a non-zero exit, no traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something that the user gave is wrong; the message names it and says what to do."""


class UnreadableImageError(InputError):
    """An image is missing, cut off, or no image; the message names it."""


@contextmanager
def one_sentence_errors(program: str) -> Iterator[None]:
    """Ends the program with the one sentence of an :class:`InputError`; any other error keeps its traceback.

    The sentence of an error in a data-loading worker is found in the report that torch makes of it.
    """
    try:
        yield
    except (InputError, FileNotFoundError) as error:
        sentence = str(error).strip()
        if '\n' in sentence:  # torch: "Caught InputError in DataLoader worker process 0. Original Traceback ... "
            sentence = sentence.splitlines()[-1].partition('Error: ')[2]
        logging.shutdown()
        sys.stderr.write(f'{program}: error: {sentence}\n')
        raise SystemExit(1) from None
