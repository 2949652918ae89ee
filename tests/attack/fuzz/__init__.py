"""The fuzzer: every parser of outside bytes gives a value or an error of its own, soon, whatever it is given."""
