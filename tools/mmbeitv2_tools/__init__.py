"""What only the command lines need: options, launching, checks before a run, how a program ends."""

import sys

import mmbeitv2

if mmbeitv2.FILES not in sys.path:
    sys.path.append(mmbeitv2.FILES)  # the configs of demo/ import their teacher from there
