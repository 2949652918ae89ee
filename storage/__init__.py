"""Where sessions are kept: one port, many stores."""
