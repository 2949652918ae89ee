"""All fake platforms at once: people write, a bot answers, workers are killed, and each message is accounted for.

`make channels` writes 20,000 messages to two gateways, three session workers and two outbound workers; `QUICK=1` takes
less than three minutes. `python -m tests.channels --help` tells what can be chosen.
"""
