"""The command line: ``riskladder``."""
