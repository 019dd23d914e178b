"""How a program ends when something goes wrong: a short message, an exit code, and no partial output."""
