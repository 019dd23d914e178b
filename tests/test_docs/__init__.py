"""The commands of README.md and docs/ are run; see README.md of this folder for the markers."""
