"""One corpus of hostile and broken input, used at every level that input reaches.

`messages` are bytes as they might come over 0MQ, `documents` are documents that decode, `files` are
files that documents point to. Everything is made in code and the same each time. Payloads that
would run code create a folder, the canary, which no test may ever find.
"""
