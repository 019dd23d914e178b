"""The quickstart and what it shows: a drawn sample set, a small CLIP as teacher, the stages, their pictures."""
