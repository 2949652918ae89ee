"""The HTTP API: what people do with commands and programs with the library, for whoever speaks HTTP."""
