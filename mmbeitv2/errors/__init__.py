"""How a program ends when something goes wrong: a short message, an exit code, and no partial output."""

from .kinds import InputError, UnreadableImageError, doing
from .noise import silent_imports
from .reporting import one_sentence_errors

__all__ = ['InputError', 'UnreadableImageError', 'doing', 'one_sentence_errors', 'silent_imports']
