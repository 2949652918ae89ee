"""The demonstration, over and over: it ends by itself, each time, however busy the machine is."""
