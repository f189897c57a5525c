#!/usr/bin/python3
"""Another program that uses a reader: `hold.py READER exclusive|transaction`, until its input ends."""
import ctypes, sys

library = ctypes.CDLL("libpcsclite.so.1")
reader, how = sys.argv[1:]
context, card, protocol = ctypes.c_long(), ctypes.c_long(), ctypes.c_ulong()
EXCLUSIVE, SHARED, ANY = 1, 2, 3


def check(result):
    if result & 0xFFFFFFFF:
        sys.exit("%08x" % (result & 0xFFFFFFFF))


check(library.SCardEstablishContext(0, None, None, ctypes.byref(context)))
share = EXCLUSIVE if how == "exclusive" else SHARED
check(library.SCardConnect(context, reader.encode(), share, ANY, ctypes.byref(card), ctypes.byref(protocol)))
if how == "transaction":
    check(library.SCardBeginTransaction(card))
print("has it", flush=True)
sys.stdin.read()
