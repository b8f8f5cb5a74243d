"""`python -m luban` is the `luban` program."""

from luban.cli.main import main

main()
