"""What a release consists of, made of one commit: `make release VERSION=…`. See docs/releasing.md.

It stands next to the script that CI runs, since it is neither part of what is released nor a test of it.
"""
