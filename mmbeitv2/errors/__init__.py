"""What a program says when something goes wrong: one sentence, an exit code, and nothing left behind."""

from .kinds import InputError, UnreadableImageError, doing
from .noise import silent_imports
from .reporting import one_sentence_errors

__all__ = ['InputError', 'UnreadableImageError', 'doing', 'one_sentence_errors', 'silent_imports']
