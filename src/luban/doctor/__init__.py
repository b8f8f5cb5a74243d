"""What this machine has, lacks and would use, and whether a project can work on it.

    finding    what one line says
    machine    processor, memory, disk, accelerator
    installed  extras and programs
    plans      what training would use: threads, precision, families, store, ledger
    project    what a project needs of all this

Looks, and changes nothing. Asks no network, but for a store or ledger elsewhere that the environment names.
"""
