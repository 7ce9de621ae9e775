"""Published systems, each in one file that composes the parts of hwflow."""
